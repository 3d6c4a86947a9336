"""The router: attempts at an exchange, one after the other, two beside each other where one is slow.

What happens once per attempt stands in ``attempt``. A failed attempt is tried again only when no side effect can be
doubled.
"""

import random
import time
import uuid
from typing import Final

import trio
from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Retry
from proxyd.core.exchange import Exchange, Try
from proxyd.core.headers import first
from proxyd.core.message import HTTP2, Response
from proxyd.core.resilience import GRPC_CONDITIONS, RetryPolicy
from proxyd.limiting.told import wait_told
from proxyd.upstream import grpc
from proxyd.upstream.attempt import Attempts
from proxyd.upstream.cluster import Cluster
from proxyd.upstream.deadline import left
from proxyd.upstream.endpoints import EndpointState
from proxyd.upstream.hedge import Hedge
from proxyd.upstream.race import HEDGED, Race
from proxyd.upstream.renewal import Renewal
from proxyd.upstream.retry import KEYED, backoff, is_repeatable, may_retry_answer, may_retry_error
from proxyd.wire.encode import proxy_status_of_attempt

_FIRST_RETRYABLE: Final = 400
_GRPC: Final = frozenset(GRPC_CONDITIONS.values())
_STALE_ONLY: Final = RetryPolicy(attempts=2, on=())
"""What unknown hosts get."""


class Router:
    """Routes exchanges under one snapshot; pools outlive it."""

    def __init__(self, attempts: Attempts, renewal: Renewal | None = None, *, rng: random.Random | None = None) -> None:
        """Without ``renewal`` a refused credential is the client's business."""
        self._attempt = attempts.make
        self._renewal = renewal
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy

    async def __call__(self, exchange: Exchange) -> Response:
        """Return the response of the first attempt that has a good one. ProxyError when none has one at all."""
        route = exchange.route
        total = route.timeouts.total
        if total:
            exchange.deadline = exchange.started + total
        if exchange.request.version == HTTP2:
            grpc.bound(exchange)
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
            if route.gates is not None:
                waits = route.gates.take(exchange, now)
                if waits is not None:
                    await waits
                    now = current_time()
            try:
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
                        wait = self._wait_after_error(exchange, cluster, state, error, current_time())
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
                    status = response.status if response.version != HTTP2 else grpc.http_status(exchange, response)
                    cluster.answered(state, status, exchange.first_byte_seconds or 0.0, now)
                    wait = None
                    if status >= _FIRST_RETRYABLE:
                        if await self._is_renewed(exchange, response):
                            wait = 0.0
                        else:
                            wait = self._wait_after_status(exchange, cluster, response, current_time())
                    if wait is None:
                        if exchange.retrying:
                            cluster.load.end_retry(exchange)
                        return _told(exchange, response) if exchange.tries else response
                    response.body.abandon()
                    outcome = str(response.status)
            finally:
                if route.gates is not None:
                    route.gates.answered(exchange)
            exchange.tries.append(Try(exchange.endpoint or "-", outcome, state))
            exchange.endpoint = None
            exchange.request.body.rewind()
            if wait:
                await _pause(exchange, wait)
            if cluster is not None and cluster.successor is not None:
                cluster = cluster.current()
            now = current_time()

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
                is_due = not race.decided.is_set() and hedge.try_spend(later)
                gates = exchange.route.gates
                if is_due and (gates is None or gates.try_take(exchange, later)):
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
        finally:
            if exchange.route.gates is not None and race.runners[1:]:
                exchange.route.gates.answered(exchange)
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
                raise left()
            raise first
        winner.adopt(exchange)
        return winner.response, winner.state, winner.began

    async def _is_renewed(self, exchange: Exchange, response: Response) -> bool:
        """Whether the credential that was refused is a better one now."""
        if self._renewal is None or exchange.credential is None:
            return False
        return await self._renewal.better(exchange, response)

    def _wait_after_error(
        self, exchange: Exchange, cluster: Cluster, state: EndpointState, error: ProxyError, now: float
    ) -> float | None:
        """Return the seconds until the next attempt, None where there is none."""
        policy = cluster.policy.retry
        if exchange.attempts >= policy.attempts and not (exchange.reused and exchange.attempts == 1):
            return None
        if not may_retry_error(exchange, error, policy, has_others=lambda: cluster.has_others(state, now)):
            return None
        # nothing says that the upstream is in trouble, but a stream that it refused
        is_stale = exchange.reused and error.retry is not Retry.NEVER and error.flag is not Flag.UPSTREAM_RESET
        wait = 0.0 if is_stale else backoff(policy, exchange.attempts, self._rng)
        return wait if self._may_wait(exchange, cluster, wait, now) else None

    def _wait_after_status(self, exchange: Exchange, cluster: Cluster, response: Response, now: float) -> float | None:
        policy = cluster.policy.retry
        if exchange.attempts >= policy.attempts:
            return None
        condition = str(response.status) if response.version != HTTP2 else grpc.condition(response)
        if not may_retry_answer(exchange, condition, policy):
            return None
        asked = grpc.pushback(response) if condition in _GRPC else wait_told(response.headers, time.time())
        if asked is not None and not 0 <= asked <= policy.patience:
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
        raise left()
