"""One attempt at an exchange: pool, credential, connection, round trip. What is repeated stands in ``router``."""

import time
from typing import Final, cast

import trio
from trio import current_time
from trio.lowlevel import spawn_system_task

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, misconfigured
from proxyd.core.exchange import Exchange, Outgoing, Signer
from proxyd.core.headers import Headers, is_grpc, without
from proxyd.core.limits import Limits
from proxyd.core.message import HTTP2, BytesBody, Request, Response
from proxyd.core.service import Endpoint, Version
from proxyd.net.stream import NEVER
from proxyd.upstream import grpc, http1, http2
from proxyd.upstream.connector import Connector
from proxyd.upstream.deadline import left
from proxyd.upstream.endpoints import EndpointState
from proxyd.upstream.http2 import Spawn
from proxyd.upstream.pool import Pool, PoolKey, PoolSet, Told
from proxyd.upstream.secrets import Secrets
from proxyd.upstream.shared import SharedPool
from proxyd.upstream.verdict import heard
from proxyd.wire.proxy_protocol import Place

MAX_POOLS: Final = 1024
"""Pools that one route remembers."""

_HTTP1: Final = Version.HTTP1.value
_HTTP2: Final = Version.HTTP2.value

Connection = http1.Connection | http2.Connection
CONNECTIONS: Final = (http1.Connection, http2.Connection)


class Attempts:
    """Makes attempts under one snapshot."""

    def __init__(
        self,
        connector: Connector,
        pools: PoolSet,
        secrets: Secrets,
        limits: Limits,
        policy: str,
        pseudonym: str,
        *,
        spawn: Spawn = spawn_system_task,
    ) -> None:
        """``spawn`` starts the tasks of connections that many exchanges share."""
        self.connector = connector
        self._pools = pools
        self._secrets = secrets
        self._limits = limits
        self._policy = policy
        self._spawn = spawn
        self._via = f"via: 1.1 {pseudonym}\r\n".encode("ascii")
        self._via_http2 = f"via: 2 {pseudonym}\r\n".encode("ascii")

    async def make(self, exchange: Exchange, state: EndpointState | None, now: float) -> Response:
        """Make one attempt at ``state``'s endpoint, or at the request's own authority where there is none."""
        pool, host, headers, path = self._prepare(exchange, state, now)
        vendor = exchange.route.vendor
        fault = exchange.route.attempt_fault
        if fault is not None:
            answer = await fault(exchange)
            if answer is not None:
                return answer if vendor is None else await heard(vendor, exchange, answer, now)
        connection = self._take_idle(exchange, pool) if pool.idle else None
        if connection is None:
            connection = await self._take(exchange, pool)
        exchange.endpoint = connection.peer
        if exchange.route.propagate:
            headers = _with_time_left(exchange, headers)
        via = self._via
        if exchange.request.version == HTTP2:
            via = self._via_http2
            headers = grpc.with_time_left(exchange, headers)
        response = await connection.round_trip(exchange, host, headers, path, via, self._limits)
        if connection.requests == 1 and pool.key.name:
            self.connector.remember(pool.key, connection.stream)
        return response if vendor is None else await heard(vendor, exchange, response, now)

    def _prepare(
        self, exchange: Exchange, state: EndpointState | None, now: float
    ) -> tuple[Pool, bytes, Headers, bytes]:
        """Return the pool, and Host, headers and path with the credential, of one attempt.

        It goes to ``state``'s endpoint, or to the request's own authority where there is none.
        """
        exchange.attempts += 1
        per_try = exchange.route.timeouts.per_try
        if per_try:
            exchange.try_deadline = now + per_try
        request = exchange.request
        service = exchange.service
        authority = request.authority
        secure = request.scheme == b"https"
        protocol = exchange.route.protocol
        if request.version == HTTP2 or protocol != _HTTP1:
            protocol = _protocol(request, protocol)
        told = _told(exchange) if exchange.route.proxy_protocol else None
        known = exchange.route.pools.get((authority.host, authority.port, state, secure, protocol, told))
        if known is None or known[0].retired:
            known = self._pool(exchange, authority, state, protocol, told, secure=secure)
        pool, host = known
        headers, path = request.headers, request.path
        injector = exchange.credential
        if injector is not None:
            if not secure and not (service is not None and service.insecure):
                raise misconfigured("a credential never goes over plain http unless the service says `insecure: true`")
            try:
                if injector.signs:
                    headers, path = self._sign(exchange, cast(Signer, injector), host)
                else:
                    headers, path = injector.apply(headers, path, self._secrets.values)
                    exchange.secrets = self._secrets.masks(injector)
            except KeyError as error:
                raise self._missing(str(error.args[0])) from None
            except ValueError as error:
                raise misconfigured(str(error)) from None
        return pool, host, headers, path

    def _sign(self, exchange: Exchange, signer: Signer, host: bytes) -> tuple[Headers, bytes]:
        """Return headers and path of an attempt that is signed; a body that the scheme changed goes out with it."""
        request = exchange.request
        payload = exchange.payload
        made = Outgoing(
            request.method,
            request.scheme,
            host,
            request.headers,
            request.path,
            payload,
            request.body.length,
            time.time(),
            request.body,
        )
        signer.sign(made, self._secrets.values)
        masks = self._secrets.masks(signer)
        exchange.secrets = (*masks, made.used) if made.used else masks
        if made.body is not payload and made.body is not None:
            request.body = BytesBody(made.body)
        return made.headers, made.path

    def _pool(
        self,
        exchange: Exchange,
        authority: Authority,
        state: EndpointState | None,
        protocol: str,
        told: Told | None,
        *,
        secure: bool,
    ) -> tuple[Pool, bytes]:
        """Return the pool to draw from and the Host field that goes with it; the route remembers both."""
        route = exchange.route
        configured = state is not None and not route.cluster.is_resolved
        dialled: Endpoint | Authority = state.endpoint if state is not None and configured else authority
        name = authority.host if secure else ""
        key = PoolKey(dialled.host, dialled.port, name, configured, self._policy, protocol, told)
        if len(route.pools) >= MAX_POOLS:
            route.pools.clear()
            self._pools.prune()
        load = route.cluster.load if route.cluster is not None else None
        found = (self._pools.get(key, route.pool, load), authority.host_header(exchange.request.scheme))
        route.pools[authority.host, authority.port, state, secure, protocol, told] = found
        return found

    def _take_idle(self, exchange: Exchange, pool: Pool) -> Connection | None:
        found = pool.take(exchange.ready if exchange.attempts == 1 else current_time())
        if found is None:
            return None
        assert isinstance(found, CONNECTIONS)
        exchange.reused = True
        exchange.queue_seconds = exchange.connect_seconds = exchange.connect_steps = None
        return found

    async def _take(self, exchange: Exchange, pool: Pool) -> Connection:
        """Dial, or wait in line where the pool is at its bound."""
        now = current_time()
        exchange.reused = False
        if not pool.reserve():
            waited = await self._wait(exchange, pool)
            exchange.queue_seconds = current_time() - now
            if waited is not None:
                exchange.reused = True
                return waited
        try:
            connection = await self._dial(exchange, pool)
        except ProxyError as error:
            pool.failed(error if not exchange.gone else None)
            raise
        except BaseException:
            pool.failed(None)
            raise
        exchange.connect_seconds = current_time() - now - (exchange.queue_seconds or 0.0)
        return connection

    async def _dial(self, exchange: Exchange, pool: Pool) -> Connection:
        """Return a new connection, whose place in the pool is reserved."""
        timeouts = exchange.route.timeouts
        key = pool.key
        stream, peer = await self.connector.connect(key, exchange, _within(exchange, timeouts.connect), timeouts.tls)
        try:
            is_http2 = self.connector.is_http2(key, stream)
        except ProxyError:
            stream.close()
            raise
        if is_http2:
            assert isinstance(pool, SharedPool)
            bounds = self._limits.http2
            connection = http2.Connection(stream, pool, peer, self.connector.watch, self._spawn, bounds)
            pool.dialled(connection, connection.born)
            connection.start()
            return connection
        single = http1.Connection(stream, pool, peer)
        pool.dialled(single, single.born)
        return single

    async def _wait(self, exchange: Exchange, pool: Pool) -> Connection | None:
        """Wait in the pool's line, as long as a connection may take."""
        with trio.move_on_after(_within(exchange, exchange.route.timeouts.connect) or NEVER) as scope:
            exchange.scope = scope
            try:
                connection = await pool.wait()
            finally:
                exchange.scope = None
            assert connection is None or isinstance(connection, CONNECTIONS)
            return connection
        if exchange.gone:
            raise left()
        raise ProxyError(
            503, Flag.UPSTREAM_OVERFLOW, "connection_limit_reached", "no connection became free within `connect`"
        )

    def _missing(self, name: str) -> ProxyError:
        why = self._secrets.problems.get(name, "it has no value yet")
        return misconfigured(f"the secret {name} cannot be used: {why}")


def _told(exchange: Exchange) -> Told:
    """Return what a connection for this exchange must have said; nothing of callers on Unix sockets, and of nobody."""
    peer = exchange.peer
    return Told(exchange.route.proxy_protocol, Place(peer.address, peer.port) if peer.port else None)


def _protocol(request: Request, protocol: str) -> str:
    """Return what the upstream is spoken to with, where it may be another version than 1.1."""
    if request.upgrade is not None:
        return _HTTP1  # RFC 9113 §8.6: HTTP/2 has no Upgrade
    if request.version == HTTP2 and is_grpc(request.headers):
        return _HTTP2
    if protocol == Version.AUTO.value and request.scheme != b"https":
        return _HTTP1
    return protocol


def _within(exchange: Exchange, seconds: float) -> float:
    """Return ``seconds``, or what is left of the exchange's or the attempt's own time when that is less."""
    ends = exchange.try_deadline or exchange.deadline
    if not ends:
        return seconds
    if exchange.deadline:
        ends = min(ends, exchange.deadline)
    left = max(0.001, ends - current_time())
    return min(seconds, left) if seconds else left


def _with_time_left(exchange: Exchange, headers: Headers) -> Headers:
    """Return the headers with the milliseconds that the attempt has, in place of what the client said of that.

    As Envoy's x-envoy-expected-rq-timeout-ms: the nearest of the bounds that would end it. None: no field.
    """
    route = exchange.route
    now = current_time()
    ends = [end for end in (exchange.try_deadline, exchange.deadline) if end]
    if route.timeouts.first_byte and exchange.request.body.replayable:  # else it begins when the body has gone
        ends.append(now + route.timeouts.first_byte)
    kept = without(headers, (route.propagate,))
    if ends:
        kept.append((route.propagate, b"%d" % max(1, round((min(ends) - now) * 1000))))
    return kept
