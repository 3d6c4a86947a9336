"""A service's endpoints in one worker, with the policies that spread and hold back attempts; it outlives snapshots."""

import math
import random
from collections.abc import Sequence
from typing import Final

from proxyd.core.counts import Row
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.headers import every, first
from proxyd.core.resilience import Balance, BreakerPolicy, HashKey, Hold, Override, Resilience
from proxyd.core.service import Endpoint, Service
from proxyd.upstream.balancer import Balancer
from proxyd.upstream.breaker import Breaker, State
from proxyd.upstream.budget import RetryBudget
from proxyd.upstream.endpoints import PENALTY, EndpointState
from proxyd.upstream.hedge import Hedge
from proxyd.upstream.load import Load, Overflowed, nobody
from proxyd.upstream.outlier import OutlierDetector

SERVER_ERROR: Final = 500
TOO_MANY: Final = 429
ALIKE: Final = 0.5
"""An endpoint fails much less than another when its share of failures is less than this part of the other's."""
MAX_UNHEALTHY: Final = 65_536
"""Endpoints that active checks may have out at a time."""


class Cluster:
    """One service."""

    def __init__(
        self,
        service: Service,
        former: "Cluster | None",
        now: float,
        rng: random.Random,
        overflowed: Overflowed = nobody,
    ) -> None:
        policy = service.resilience
        self.name = service.name
        self.policy: Resilience = policy
        self.load: Load = former.load if former is not None else Load(service.name, policy.thresholds, overflowed)
        self.load.bound_by(policy.thresholds)
        self.source = service.source
        self.successor: Cluster | None = None
        """Of the same source, with a later list: an exchange that is under way retries there."""
        if former is not None and service.source and former.source == service.source:
            former.successor = self
        endpoints = _endpoints(service, former)
        self.is_resolved = not (service.endpoints or service.source)
        """Its one state stands for whatever address the name resolves to."""
        known = {(state.endpoint.host, state.endpoint.port): state for state in former.states} if former else {}
        self.states: list[EndpointState] = []
        for endpoint in endpoints:
            state = known.get((endpoint.host, endpoint.port))
            if state is None:
                state = EndpointState(endpoint, now, None)
            state.endpoint = endpoint
            if policy.breaker is None or len(endpoints) == 1:
                state.breaker = None
            elif state.breaker is None or former is None or former.policy.breaker != policy.breaker:
                state.breaker = Breaker(policy.breaker, narrows=False)
            self.states.append(state)
        self._rng = rng
        same_breaker = former is not None and former.policy.breaker == policy.breaker
        self.breaker: Breaker | None = None
        if policy.breaker is not None:
            self.breaker = former.breaker if former is not None and same_breaker else Breaker(policy.breaker)
        self.outlier = OutlierDetector(policy.outlier, now) if policy.outlier and len(self.states) > 1 else None
        self._several = len(self.states) > 1
        self._slow = policy.breaker.slow if policy.breaker is not None else 0.0
        retry = policy.retry
        self.hedge: Hedge | None = None
        if policy.hedge is not None:
            kept = former.hedge if former is not None and former.policy.hedge == policy.hedge else None
            self.hedge = kept or Hedge(policy.hedge, now)
        self.key_field = retry.key_header.encode("ascii")
        """Header field of the vendor's idempotency key; empty: it takes none."""
        self.budget: RetryBudget = RetryBudget(retry.ratio, retry.min_per_second)
        if former is not None:
            before = former.policy.retry
            if (before.ratio, before.min_per_second) == (retry.ratio, retry.min_per_second):
                self.budget = former.budget
        self.hold(())

    def __repr__(self) -> str:
        return f"<Cluster {self.name} endpoints={len(self.states)}>"

    def current(self) -> "Cluster":
        """Return the cluster with the latest list of endpoints."""
        cluster = self
        while cluster.successor is not None:
            cluster = cluster.successor
        return cluster

    def admit(self, now: float) -> None:
        """Let an attempt begin. ProxyError 503 while the service's breaker is open."""
        if self.breaker is not None and not self.breaker.admit(now):
            wait = self.breaker.retry_after(now)
            why = f"is open after failures; next probe in {wait:.1f} s"
            if self.breaker.forced is not None:
                why = "is held open by an operator"
            elif self.breaker.state is State.CLOSED:
                why = f"admits {self.breaker.share:.0%} of the requests, since the upstream fails more"
            raise ProxyError(
                503, Flag.UPSTREAM_OVERFLOW, "destination_unavailable", f"the breaker of {self.name} {why}"
            )

    def hold(self, overrides: Sequence[Override]) -> None:
        """Hold endpoints and breakers as an operator wants them; all else follows its policy.

        What is held down or open is left out even where nothing else is left.
        """
        holds = {(one.host, one.port, one.hold.is_of_breaker): one.hold for one in overrides}
        policy = self.policy.breaker
        self.breaker = _held(self.breaker, policy, holds.get(("", 0, True)))
        for state in self.states:
            address = (state.endpoint.host, state.endpoint.port)
            state.breaker = _held(state.breaker, policy if self._several else None, holds.get((*address, True)))
            health = holds.get((*address, False))
            state.held = None if health is None else health is Hold.UP
        self._usable = [
            state
            for state in self.states
            if state.held is not False and (state.breaker is None or state.breaker.forced is not State.OPEN)
        ]
        policies = self.policy
        self.balancer = Balancer(
            policies.balance, self._usable, slow_start=policies.slow_start, panic=policies.panic, rng=self._rng
        )

    def pick(self, exchange: Exchange, now: float) -> EndpointState:
        """Return the endpoint for the next attempt. ProxyError 503 where there is none."""
        usable = self._usable
        if len(usable) < 2:
            if not usable:
                raise self._unusable()
            if not self._several:
                return usable[0]
        if self.outlier is not None:
            self.outlier.look(self.states, now)
        key = _hash_key(exchange, self.policy) if self.policy.balance is Balance.HASH else b""
        state = self.balancer.pick(now, key, [attempt.state for attempt in exchange.tries])
        if state.breaker is not None:
            state.breaker.admit(now)
        return state

    def second(self, exchange: Exchange, first: EndpointState, now: float) -> EndpointState:
        """Return the endpoint for a hedge beside an attempt at ``first``: another one where there is one."""
        if not self._several or not self._usable:
            return first
        tried = [first, *(attempt.state for attempt in exchange.tries)]
        state = self.balancer.pick(now, b"", tried)
        if state.breaker is not None:
            state.breaker.admit(now)
        return state

    def has_others(self, state: EndpointState, now: float) -> bool:
        """Whether an attempt after one at ``state`` would meet another endpoint that is thought well of."""
        return self._several and any(one is not state and one.is_available(now) for one in self._usable)

    def lost(self, state: EndpointState, began: float, now: float) -> None:
        """An attempt that ``began`` then was given up, since another one was faster."""
        if self._several:
            state.outlast(now - began, now)
        self.withdraw(state, began)

    def _unusable(self) -> ProxyError:
        """Return why no endpoint can be picked; the attempt was admitted, and ends here."""
        if self.breaker is not None:
            self.breaker.withdraw()
        if self.states:
            detail = f"every endpoint of {self.name} is held down by an operator"
        else:
            detail = f"no endpoint of {self.name} is known: {self.source} names none; `proxyd status` says why"
        return ProxyError(503, Flag.NO_HEALTHY, "destination_unavailable", detail)

    def answered(self, state: EndpointState, status: int, seconds: float, began: float) -> None:
        """An attempt that ``began`` then brought a response head after ``seconds``."""
        if status >= SERVER_ERROR or 0 < self._slow < seconds:
            self._failed(state, status, seconds, began + seconds, began)
            return
        if self.hedge is not None:
            self.hedge.latencies.observe(seconds, began + seconds)
        state.heard = began
        state.took = seconds
        if self.breaker is not None:
            self.breaker.success(began, seconds)
        if self._several:
            if state.breaker is not None:
                state.breaker.success(began)
            if self.outlier is not None:
                self.outlier.success(state)
            # a refusal is quick, and not to be preferred for that
            state.observe(seconds if status != TOO_MANY else max(seconds, PENALTY), began + seconds)

    def failed(self, state: EndpointState, error: ProxyError, now: float, began: float = math.inf) -> None:
        """An attempt that ``began`` then ended without a response head."""
        if error.stale or error.flag in _OURS:
            self.withdraw(state, began)
            return
        self._failed(state, 0, 0.0, now, began)

    def withdraw(self, state: EndpointState, began: float = math.inf) -> None:
        """An attempt that ``began`` then ended without a word about the upstream."""
        for guard in (self.breaker, state.breaker):
            if guard is not None:
                guard.withdraw(began)

    def _failed(self, state: EndpointState, status: int, seconds: float, now: float, began: float) -> None:
        is_left, is_better = self._elsewhere(state, now) if self._several else (False, False)
        overtaken = state.overtaken(began, now)
        is_probe = self.breaker is not None and self.breaker.state is State.HALF_OPEN
        is_everywhere = is_left and not is_probe and not is_better
        if self._several:
            if state.breaker is not None:
                state.breaker.failure(now, began, overtaken, is_everywhere=is_everywhere)
            state.observe(max(seconds, PENALTY), now)
            if self.outlier is not None and (status == 0 or status >= SERVER_ERROR):
                self.outlier.failure(state, status, self.states, now, is_ahead=overtaken > 0)
        if self.breaker is None:
            return
        if is_left and not is_everywhere:
            self.breaker.withdraw(began)  # the endpoint's failure; the next probe meets another one
        else:
            self.breaker.failure(now, began, sum(one.overtaken(began, now) for one in self.states))

    def _elsewhere(self, state: EndpointState, now: float) -> tuple[bool, bool]:
        """Whether another endpoint can be used, and whether one fails much less than ``state``, with this failure."""
        bound = ALIKE * state.breaker.failure_share(1) if state.breaker is not None else math.inf
        is_left = False
        for one in self.states:
            if one is not state and one.is_available(now):
                is_left = True
                if one.breaker is None or one.breaker.failure_share() < bound:
                    return True, True
        return is_left, False


_OURS: Final = frozenset(
    {
        Flag.DOWNSTREAM_DISCONNECT,
        Flag.DOWNSTREAM_PROTOCOL,
        Flag.DOWNSTREAM_TIMEOUT,
        Flag.UPSTREAM_OVERFLOW,
        Flag.DENIED,
        Flag.CONFIGURATION,
        Flag.DRAINING,
        Flag.LOOP,
    }
)
"""Failures that say nothing about the upstream."""


class ClusterSet:
    """All clusters of one worker, by service name."""

    def __init__(
        self, rng: random.Random | None = None, overflowed: Overflowed = nobody, row: Row | None = None
    ) -> None:
        self._rng = rng or random.Random()  # noqa: S311 - balance, not secrecy
        self._overflowed = overflowed
        self._row = row
        self._clusters: dict[str, Cluster] = {}
        self._unhealthy: set[tuple[str, str, int]] = set()
        self._overrides: dict[str, list[Override]] = {}

    def apply(self, services: Sequence[Service], now: float, *, is_alone: bool = True) -> dict[str, Cluster]:
        """Return the clusters of these services; what was learned of endpoints that stay is kept.

        ``is_alone``: there is no other worker to count with.
        """
        former = self._clusters
        self._clusters = {
            service.name: Cluster(service, former.get(service.name), now, self._rng, self._overflowed)
            for service in services
        }
        self._share([former[name] for name in former if name not in self._clusters], is_alone=is_alone)
        for cluster in self._clusters.values():
            for state in cluster.states:
                state.is_healthy = (cluster.name, state.endpoint.host, state.endpoint.port) not in self._unhealthy
            if cluster.name in self._overrides:
                cluster.hold(self._overrides[cluster.name])
        return self._clusters

    def _share(self, gone: Sequence[Cluster], *, is_alone: bool) -> None:
        """Publish what is under way in the order of the snapshot, which is the same for all workers."""
        row = None if is_alone else self._row
        for cluster in gone:
            cluster.load.share(None, 0)
        if self._row is not None:
            self._row.begin([*self._clusters])
        for position, cluster in enumerate(self._clusters.values()):
            cluster.load.share(row, position)
        if row is not None:
            row.publish()

    def endpoints(self) -> set[tuple[str, int]]:
        """Return host and port of every endpoint that is not an address which a name resolves to."""
        return {
            (state.endpoint.host, state.endpoint.port)
            for cluster in self._clusters.values()
            if not cluster.is_resolved
            for state in cluster.states
        }

    def set_health(self, service: str, host: str, port: int, is_healthy: bool, now: float) -> None:
        """Take in what active checks say of an endpoint, known already or not yet."""
        key = (service, host, port)
        if is_healthy:
            self._unhealthy.discard(key)
        elif len(self._unhealthy) < MAX_UNHEALTHY:
            self._unhealthy.add(key)
        cluster = self._clusters.get(service)
        for state in cluster.states if cluster is not None else ():
            if (state.endpoint.host, state.endpoint.port) == (host, port):
                if is_healthy and not state.is_healthy:
                    state.added = now
                state.is_healthy = is_healthy

    def set_overrides(self, overrides: Sequence[Override]) -> None:
        """Hold endpoints and breakers as an operator wants them, in place of what was held before."""
        self._overrides = {}
        for one in overrides:
            self._overrides.setdefault(one.service, []).append(one)
        for cluster in self._clusters.values():
            cluster.hold(self._overrides.get(cluster.name, ()))

    def view(self, now: float) -> list[dict[str, object]]:
        """Describe every endpoint, for the admin socket."""
        return [
            {
                "service": cluster.name,
                "address": state.endpoint.address,
                "weight": state.endpoint.weight,
                "priority": state.endpoint.priority,
                "available": state.is_available(now),
                "healthy": state.is_healthy,
                "held": None if state.held is None else ("up" if state.held else "down"),
                "ejected_seconds": round(max(0.0, state.ejected_until - now), 3),
                "pending": state.pending,
                "source": cluster.source or ("base_url" if cluster.is_resolved else "configuration"),
                "estimate_ms": round(state.load(now) / (state.pending + 1) * 1000, 3),
                "breaker": _shown(state.breaker or cluster.breaker),
                "admitted": 1.0 if cluster.breaker is None else round(cluster.breaker.share, 3),
            }
            for cluster in self._clusters.values()
            for state in cluster.states
        ]


def _held(breaker: Breaker | None, policy: BreakerPolicy | None, hold: Hold | None) -> Breaker | None:
    """Return the breaker to use: one that is off by its policy exists only while it is held."""
    if hold is None and policy is None:
        return None
    breaker = breaker or Breaker(policy or BreakerPolicy())
    breaker.forced = _FORCED[hold]
    return breaker


_FORCED: Final = {None: None, Hold.OPEN: State.OPEN, Hold.CLOSED: State.CLOSED}


def _endpoints(service: Service, former: Cluster | None) -> tuple[Endpoint, ...]:
    """Return what is dialled; a control process that has just begun to look does not take away what was found."""
    if not service.source:
        return service.endpoints or (Endpoint(service.base.host, service.base.port),)
    if service.pending and former is not None and former.source == service.source and former.states:
        return tuple(state.endpoint for state in former.states)
    return service.endpoints


def _shown(breaker: Breaker | None) -> str:
    if breaker is None:
        return "off"
    return breaker.state.value if breaker.forced is None else f"forced {breaker.forced.value}"


def _hash_key(exchange: Exchange, policy: Resilience) -> bytes:
    by, request = policy.hash_by, exchange.request
    if by.kind is HashKey.PATH:
        return request.path.partition(b"?")[0]
    if by.kind is HashKey.HEADER:
        return first(request.headers, by.name.encode("ascii")) or b""
    if by.kind is HashKey.COOKIE:
        wanted = by.name.encode("ascii") + b"="
        for value in every(request.headers, b"cookie"):
            for pair in value.split(b";"):
                if pair.strip().startswith(wanted):
                    return pair.strip()[len(wanted) :]
        return b""
    return exchange.peer.caller.encode("utf-8", "surrogateescape")
