"""The router: attempts at an exchange. Everything that happens once per attempt stands in this file.

An attempt picks an endpoint, takes a connection, applies the credential and makes one round trip. A failed attempt is
tried again only when no side effect can be doubled.
"""

import random
import time
import uuid
from collections.abc import Sequence
from typing import Final

import trio
from trio import current_time

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Retry, Side
from proxyd.core.exchange import Exchange, Injector, Try
from proxyd.core.headers import Headers, first, without
from proxyd.core.limits import Limits
from proxyd.core.message import Response
from proxyd.core.resilience import RetryPolicy
from proxyd.core.service import Endpoint
from proxyd.net.stream import NEVER
from proxyd.upstream.cluster import Cluster
from proxyd.upstream.connector import Connector
from proxyd.upstream.endpoints import EndpointState
from proxyd.upstream.hedge import Hedge
from proxyd.upstream.http1 import Connection
from proxyd.upstream.pool import Pool, PoolKey, PoolSet
from proxyd.upstream.race import HEDGED, Race
from proxyd.upstream.retry import KEYED, backoff, is_repeatable, may_retry_error, may_retry_status, retry_after
from proxyd.wire.encode import proxy_status_of_attempt

MAX_POOLS: Final = 1024
"""Pools that one route remembers."""

_FIRST_RETRYABLE: Final = 400
_STALE_ONLY: Final = RetryPolicy(attempts=2, on=())
"""What unknown hosts get."""


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
        self,
        connector: Connector,
        pools: PoolSet,
        secrets: Secrets,
        limits: Limits,
        policy: str,
        pseudonym: str,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self.connector = connector
        self._pools = pools
        self._secrets = secrets
        self._limits = limits
        self._policy = policy
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._via = f"via: 1.1 {pseudonym}\r\n".encode("ascii")

    async def __call__(self, exchange: Exchange) -> Response:
        """Return the response of the first attempt that has a good one. ProxyError when none has one at all."""
        route = exchange.route
        total = route.timeouts.total
        if total:
            exchange.deadline = exchange.started + total
        cluster: Cluster | None = route.cluster
        now = exchange.ready
        state: EndpointState | None = None
        wait: float | None
        if cluster is not None:
            cluster.load.enter(exchange)
            cluster.budget.request(now)
            if cluster.key_field:
                _add_key(exchange, cluster.key_field)
        while True:
            if cluster is not None:
                cluster.admit(now)
                state = cluster.pick(exchange, now)
                state.pending += 1
            try:
                if cluster is None or state is None or cluster.hedge is None:
                    response = await self._attempt(exchange, state, now)
                else:
                    response, state, now = await self._hedged(exchange, cluster, cluster.hedge, state, now)
            except ProxyError as error:
                if cluster is None or state is None:
                    if (
                        exchange.attempts > 1
                        or not exchange.reused
                        or not may_retry_error(exchange, error, _STALE_ONLY)
                    ):
                        raise
                    wait = 0.0
                else:
                    state.pending -= 1
                    cluster.failed(state, error, current_time(), now)
                    wait = self._wait_after_error(exchange, cluster, error, current_time())
                    if wait is None:
                        raise
                outcome = error.error
            except BaseException:
                if cluster is not None and state is not None:
                    state.pending -= 1
                    cluster.withdraw(state, now)
                raise
            else:
                if cluster is None or state is None:
                    return response
                state.pending -= 1
                cluster.answered(state, response.status, exchange.first_byte_seconds or 0.0, now)
                wait = None
                if response.status >= _FIRST_RETRYABLE:
                    wait = self._wait_after_status(exchange, cluster, response, current_time())
                if wait is None:
                    if exchange.retrying:
                        cluster.load.end_retry(exchange)
                    return _told(exchange, response) if exchange.tries else response
                response.body.abandon()
                outcome = str(response.status)
            exchange.tries.append(Try(exchange.endpoint or "-", outcome, state))
            exchange.endpoint = None
            exchange.request.body.rewind()
            if wait:
                await _pause(exchange, wait)
            if cluster is not None and cluster.successor is not None:
                cluster = cluster.current()
            now = current_time()

    async def _attempt(self, exchange: Exchange, state: EndpointState | None, now: float) -> Response:
        """Make one attempt."""
        pool, host, headers, path = self._prepare(exchange, state, now)
        fault = exchange.route.attempt_fault
        if fault is not None:
            answer = await fault(exchange)
            if answer is not None:
                return answer
        connection = self._take_idle(exchange, pool) if pool.idle else None
        if connection is None:
            connection = await self._take(exchange, pool)
        exchange.endpoint = connection.peer
        if exchange.route.propagate:
            headers = _with_time_left(exchange, headers)
        response = await connection.round_trip(exchange, host, headers, path, self._via, self._limits)
        if connection.requests == 1 and pool.key.name:
            self.connector.remember(pool.key, connection.stream)
        return response

    async def _hedged(
        self, exchange: Exchange, cluster: Cluster, hedge: Hedge, state: EndpointState, now: float
    ) -> tuple[Response, EndpointState, float]:
        """Make an attempt, and a second one beside it when it is slow; return the first good answer, whose, begun when.

        The other attempt is cancelled, which closes its connection. ``state`` counts as pending already and is left so
        unless the second one wins, which then counts in its place.
        """
        wait = hedge.after(now)
        if wait is None or not is_repeatable(exchange, cluster.policy.retry):
            return await self._attempt(exchange, state, now), state, now
        race = Race(exchange)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(race.run, self._attempt, exchange, state, now)
                with trio.move_on_after(wait):
                    await race.decided.wait()
                later = current_time()
                if not race.decided.is_set() and hedge.try_spend(later):
                    other = cluster.second(exchange, state, later)
                    other.pending += 1
                    nursery.start_soon(race.run, self._attempt, race.twin(), other, later)
                await race.decided.wait()
                nursery.cancel_scope.cancel()
        except BaseException:
            for runner in race.runners[1:]:
                runner.state.pending -= 1
                cluster.withdraw(runner.state, runner.began)
            raise
        ended = current_time()
        winner = race.winner()
        for runner in race.others(than=winner or race.runners[0]):
            runner.state.pending -= 1
            if runner.error is not None:
                cluster.failed(runner.state, runner.error, ended, runner.began)
            else:
                cluster.lost(runner.state, runner.began, ended)
            exchange.tries.append(Try(runner.exchange.endpoint or "-", HEDGED, runner.state))
        if winner is None:
            first = race.runners[0].error
            if first is None:  # the second one's failure was noticed first, and there is nobody left to go on for
                assert exchange.gone, "a race that is decided without an answer has errors"
                raise _left()
            raise first
        winner.adopt(exchange)
        return winner.response, winner.state, winner.began

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
        known = exchange.route.pools.get((authority.host, authority.port, state, secure))
        if known is None or known[0].retired:
            known = self._pool(exchange, authority, state, secure)
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

    def _pool(
        self, exchange: Exchange, authority: Authority, state: EndpointState | None, secure: bool
    ) -> tuple[Pool, bytes]:
        """Return the pool to draw from and the Host field that goes with it; the route remembers both."""
        route = exchange.route
        configured = state is not None and not route.cluster.is_resolved
        dialled: Endpoint | Authority = state.endpoint if state is not None and configured else authority
        key = PoolKey(dialled.host, dialled.port, authority.host if secure else "", configured, self._policy)
        if len(route.pools) >= MAX_POOLS:
            route.pools.clear()
            self._pools.prune()
        load = route.cluster.load if route.cluster is not None else None
        found = (self._pools.get(key, route.pool, load), authority.host_header(exchange.request.scheme))
        route.pools[authority.host, authority.port, state, secure] = found
        return found

    def _wait_after_error(self, exchange: Exchange, cluster: Cluster, error: ProxyError, now: float) -> float | None:
        """Return the seconds until the next attempt, None where there is none."""
        policy = cluster.policy.retry
        if exchange.attempts >= policy.attempts and not (exchange.reused and exchange.attempts == 1):
            return None
        if not may_retry_error(exchange, error, policy):
            return None
        is_stale = exchange.reused and error.retry is not Retry.NEVER  # nothing says that the upstream is in trouble
        wait = 0.0 if is_stale else backoff(policy, exchange.attempts, self._rng)
        return wait if self._may_wait(exchange, cluster, wait, now) else None

    def _wait_after_status(self, exchange: Exchange, cluster: Cluster, response: Response, now: float) -> float | None:
        policy = cluster.policy.retry
        if exchange.attempts >= policy.attempts or not may_retry_status(exchange, response.status, policy):
            return None
        asked = retry_after(response.headers, time.time())
        if asked is not None and asked > policy.patience:
            return None
        wait = max(asked or 0.0, backoff(policy, exchange.attempts, self._rng))
        return wait if self._may_wait(exchange, cluster, wait, now) else None

    @staticmethod
    def _may_wait(exchange: Exchange, cluster: Cluster, wait: float, now: float) -> bool:
        """Take a retry from the budgets, unless after ``wait`` the exchange's time is over or the breaker still open.

        The client has the upstream's own word then, in place of the breaker's.
        """
        if exchange.deadline and now + wait >= exchange.deadline:
            return False
        if cluster.breaker is not None and not cluster.breaker.is_ready(now + wait):
            return False
        return cluster.load.try_retry(exchange) and cluster.budget.try_retry(now)

    def _take_idle(self, exchange: Exchange, pool: Pool) -> Connection | None:
        found = pool.take(exchange.ready if exchange.attempts == 1 else current_time())
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
                pool.key,
                exchange,
                _within(exchange, exchange.route.timeouts.connect),
                exchange.route.timeouts.tls,
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
            raise _left()
        raise ProxyError(
            503, Flag.UPSTREAM_OVERFLOW, "connection_limit_reached", "no connection became free within `connect`"
        )

    def _missing(self, name: str) -> ProxyError:
        why = self._secrets.problems.get(name, "it has no value yet")
        return _misconfigured(f"the secret {name} cannot be used: {why}")


def _left() -> ProxyError:
    return ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", "the client left", side=Side.DOWNSTREAM)


def _misconfigured(detail: str) -> ProxyError:
    return ProxyError(500, Flag.CONFIGURATION, "proxy_configuration_error", detail)


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


def _add_key(exchange: Exchange, field: bytes) -> None:
    """Have all attempts of a POST or PATCH carry one idempotency key: the client's own, else a new one."""
    request = exchange.request
    if request.method in KEYED and first(request.headers, field) is None:
        request.headers = [*request.headers, (field, str(uuid.uuid4()).encode("ascii"))]


def _told(exchange: Exchange, response: Response) -> Response:
    """Return the response, which says that it took several attempts (RFC 9209)."""
    pseudonym = exchange.snapshot.pseudonym
    members = [proxy_status_of_attempt(pseudonym, attempt.endpoint, attempt.outcome) for attempt in exchange.tries]
    response.headers = [*response.headers, (b"proxy-status", b", ".join(members))]
    return response


async def _pause(exchange: Exchange, seconds: float) -> None:
    """Wait between two attempts; a client that leaves ends it."""
    with trio.CancelScope() as scope:
        exchange.scope = scope
        try:
            await trio.sleep(seconds)
        finally:
            exchange.scope = None
    if exchange.gone:
        raise _left()
