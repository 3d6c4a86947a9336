"""The router: attempts at an exchange. Everything that happens once per attempt stands in this file.

An attempt picks an endpoint, takes a connection, applies the credential and makes one round trip. A failed attempt is
tried again only when no side effect can be doubled.
"""

from collections.abc import Sequence
from typing import Final

import trio
from trio import current_time

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Retry, Side
from proxyd.core.exchange import Exchange, Injector
from proxyd.core.headers import Headers
from proxyd.core.limits import Limits
from proxyd.core.message import Response
from proxyd.core.service import Endpoint, Service
from proxyd.net.stream import NEVER
from proxyd.upstream.connector import Connector
from proxyd.upstream.http1 import Connection
from proxyd.upstream.pool import Pool, PoolKey, PoolSet

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
"""RFC 9110 §9.2.2."""

MAX_POOLS: Final = 1024
"""Pools that one route remembers."""

MAX_ATTEMPTS: Final = 2
"""Attempts where a service has fewer endpoints: the second makes up for a stale connection."""


class Secrets:
    """The values of credentials that this worker holds, and why one is missing."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.former: dict[str, tuple[bytes, ...]] = {}
        """Values that callers may still prove themselves with."""
        self.problems: dict[str, str] = {}
        self._masks: dict[Injector, tuple[bytes, ...]] = {}

    def set(self, name: str, value: bytes | None, why: str, former: Sequence[bytes] = ()) -> None:
        """Use this value from the next attempt on, or say why there is none."""
        self._masks.clear()
        self.former[name] = tuple(former)
        if value is None:
            self.values.pop(name, None)
            self.problems[name] = why
        else:
            self.values[name] = value
            self.problems.pop(name, None)

    def masks(self, injector: Injector) -> tuple[bytes, ...]:
        """Return what would give the injector's secrets away, worked out once per change of a secret."""
        masks = self._masks.get(injector)
        if masks is None:
            masks = self._masks[injector] = injector.masks(self.values)
        return masks

    def forget_masks(self) -> None:
        """A new snapshot has new injectors."""
        self._masks.clear()


class Router:
    """Routes exchanges under one snapshot; pools outlive it."""

    def __init__(
        self, connector: Connector, pools: PoolSet, secrets: Secrets, limits: Limits, policy: str, pseudonym: str
    ) -> None:
        self.connector = connector
        self._pools = pools
        self._secrets = secrets
        self._limits = limits
        self._policy = policy
        self._via = f"via: 1.1 {pseudonym}\r\n".encode("ascii")

    async def __call__(self, exchange: Exchange) -> Response:
        """Return the response of the first attempt that has one. ProxyError when none has."""
        route = exchange.route
        total = route.timeouts.total
        if total:
            exchange.deadline = exchange.started + total
        service = route.service
        endpoints = service.endpoints if service is not None else ()
        most = max(MAX_ATTEMPTS, len(endpoints))
        offset = 0
        if len(endpoints) > 1:
            offset = route.rotation = (route.rotation + 1) % len(endpoints)
        while True:
            exchange.attempts += 1
            index = (offset + exchange.attempts - 1) % len(endpoints) if endpoints else -1
            try:
                pool, host, headers, path = self._prepare(exchange, service, index)
                connection = self._take_idle(exchange, pool) if pool.idle else None
                if connection is None:
                    connection = await self._take(exchange, pool)
                exchange.endpoint = connection.peer
                response = await connection.round_trip(exchange, host, headers, path, self._via, self._limits)
            except ProxyError as error:
                if exchange.attempts >= most or not _may_retry(exchange, error, len(endpoints)):
                    raise
                exchange.request.body.rewind()
                continue
            if connection.requests == 1 and pool.key.name:
                self.connector.remember(pool.key, connection.stream)
            return response

    def _prepare(self, exchange: Exchange, service: Service | None, index: int) -> tuple[Pool, bytes, Headers, bytes]:
        """Return the pool, and Host, headers and path with the credential, of one attempt.

        It goes to the service's endpoint ``index``, or to the request's own authority where that is -1.
        """
        request = exchange.request
        authority = request.authority
        secure = request.scheme == b"https"
        known = exchange.route.pools.get((authority.host, authority.port, index, secure))
        if known is None or known[0].retired:
            known = self._pool(exchange, authority, index, secure)
        pool, host = known
        headers, path = request.headers, request.path
        injector = exchange.credential
        if injector is not None:
            if not secure and not (service is not None and service.insecure):
                raise _misconfigured("a credential never goes over plain http unless the service says `insecure: true`")
            try:
                headers, path = injector.apply(headers, path, self._secrets.values)
                exchange.secrets = self._secrets.masks(injector)
            except KeyError as error:
                raise self._missing(str(error.args[0])) from None
            except ValueError as error:
                raise _misconfigured(str(error)) from None
        return pool, host, headers, path

    def _pool(self, exchange: Exchange, authority: Authority, index: int, secure: bool) -> tuple[Pool, bytes]:
        """Return the pool to draw from and the Host field that goes with it; the route remembers both."""
        route = exchange.route
        dialled: Endpoint | Authority = authority
        if index >= 0 and route.service is not None:
            dialled = route.service.endpoints[index]
        key = PoolKey(dialled.host, dialled.port, authority.host if secure else "", index >= 0, self._policy)
        if len(route.pools) >= MAX_POOLS:
            route.pools.clear()
            self._pools.prune()
        found = (self._pools.get(key, route.pool), authority.host_header(exchange.request.scheme))
        route.pools[authority.host, authority.port, index, secure] = found
        return found

    def _take_idle(self, exchange: Exchange, pool: Pool) -> Connection | None:
        found = pool.take(exchange.started if exchange.attempts == 1 else current_time())
        if found is None:
            return None
        assert isinstance(found, Connection)
        exchange.reused = True
        exchange.queue_seconds = exchange.connect_seconds = None
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
            stream, peer = await self.connector.connect(
                pool.key, exchange, _within(exchange, exchange.route.timeouts.connect)
            )
        except BaseException:
            pool.forfeit()
            raise
        exchange.connect_seconds = current_time() - now - (exchange.queue_seconds or 0.0)
        return Connection(stream, pool, peer)

    async def _wait(self, exchange: Exchange, pool: Pool) -> Connection | None:
        """Wait in the pool's line, as long as a connection may take."""
        with trio.move_on_after(_within(exchange, exchange.route.timeouts.connect) or NEVER) as scope:
            exchange.scope = scope
            try:
                connection = await pool.wait()
            finally:
                exchange.scope = None
            assert connection is None or isinstance(connection, Connection)
            return connection
        if exchange.gone:
            raise ProxyError(
                499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", "the client left", side=Side.DOWNSTREAM
            )
        raise ProxyError(
            503, Flag.UPSTREAM_OVERFLOW, "connection_limit_reached", "no connection became free within `connect`"
        )

    def _missing(self, name: str) -> ProxyError:
        why = self._secrets.problems.get(name, "it has no value yet")
        return _misconfigured(f"the secret {name} cannot be used: {why}")


def _misconfigured(detail: str) -> ProxyError:
    return ProxyError(500, Flag.CONFIGURATION, "proxy_configuration_error", detail)


def _within(exchange: Exchange, seconds: float) -> float:
    """Return ``seconds``, or what is left of the exchange's own time when that is less."""
    if not exchange.deadline:
        return seconds
    left = max(0.001, exchange.deadline - current_time())
    return min(seconds, left) if seconds else left


def _may_retry(exchange: Exchange, error: ProxyError, endpoints: int) -> bool:
    """Whether another attempt is safe (no side effect twice) and can differ from this one."""
    if exchange.gone or (exchange.request_bytes and not exchange.request.body.replayable):
        return False
    if error.retry is Retry.ALWAYS:
        return endpoints > 1 or exchange.reused
    if error.retry is Retry.IF_REUSED:
        return exchange.request.method in IDEMPOTENT and exchange.request.body.replayable
    return False
