"""What must hold in every simulation, checked where it would break: the real parts, watched by subclasses."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxyd.core.exchange import Exchange
from proxyd.core.limits import PoolLimits
from proxyd.core.service import Service
from proxyd.upstream.balancer import SMALL_GROUP, Balancer
from proxyd.upstream.budget import RetryBudget
from proxyd.upstream.cluster import Cluster
from proxyd.upstream.endpoints import EndpointState
from proxyd.upstream.load import Load
from proxyd.upstream.pool import Pool, PoolKey, PoolSet

MAX_TOLD = 20
"""Violations that one simulation lists."""

Report = Callable[[str], None]


@dataclass(slots=True)
class Tally:
    """What a service came to, under all lists of its endpoints."""

    attempts: int = 0
    hedges: int = 0
    panics: int = 0
    """Picks of an endpoint that was not available."""


class WatchedBudget(RetryBudget):
    """Holds each retry against the ten seconds that ended with it, to the very second."""

    __slots__ = ("_report", "_share", "requested", "retried")

    def __init__(self, ratio: float, min_per_second: float, report: Report) -> None:
        super().__init__(ratio, min_per_second)
        self._share = ratio, min_per_second
        self._report = report
        self.requested: list[float] = []
        self.retried: list[float] = []

    def request(self, now: float) -> None:
        self.requested.append(now)
        super().request(now)

    def try_retry(self, now: float) -> bool:
        granted = super().try_retry(now)
        if granted:
            self.retried.append(now)
            retries = len(self.retried) - bisect_right(self.retried, now - 10)
            requests = len(self.requested) - bisect_right(self.requested, now - 10)
            allowed = self._share[0] * requests + self._share[1] * 10
            if retries > allowed + 1e-9:
                self._report(f"{retries} retries within 10 s, {allowed:g} are allowed for {requests} requests")
        return granted


class WatchedBalancer(Balancer):
    """Holds each pick against what could be used just before it."""

    def __init__(self, cluster: Cluster, rng: random.Random, report: Report, tally: Tally) -> None:
        policy = cluster.policy
        super().__init__(policy.balance, cluster.states, slow_start=policy.slow_start, panic=policy.panic, rng=rng)
        self._share = policy.panic
        self._report = report
        self._tally = tally

    def pick(self, now: float, key: bytes = b"", tried: Sequence[EndpointState] = ()) -> EndpointState:
        available = [state for state in self.states if state.is_available(now)]
        state = super().pick(now, key, tried)
        if state not in available:
            self._tally.panics += 1
            group = [one for one in self.states if one.endpoint.priority == state.endpoint.priority]
            left = sum(1 for one in group if one in available)
            few = len(group) >= SMALL_GROUP and left < self._share * len(group)
            if available and not few:
                self._report(f"picked {state!r} which is not available, though {len(available)} others are")
        return state


class WatchedPool(Pool):
    """Holds its counts against its limits after every change."""

    __slots__ = ("report",)

    report: Report

    def _check(self) -> None:
        limits = self.limits
        if not len(self.idle) <= self.open <= limits.connections or self.open < 0:
            self.report(f"{self!r} is outside its {limits.connections} connections")
        if len(self.waiters) > limits.pending:
            self.report(f"{len(self.waiters)} wait for {self!r}, {limits.pending} may")

    def reserve(self) -> bool:
        reserved = super().reserve()
        self._check()
        return reserved

    def forfeit(self) -> None:
        super().forfeit()
        self._check()

    def _grant(self, connection: object) -> None:
        super()._grant(connection)  # type: ignore[arg-type]
        self._check()


class WatchedPools(PoolSet):
    """Pools that are watched."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def get(self, key: PoolKey, limits: PoolLimits, load: Load | None = None) -> Pool:
        if key not in self._pools:
            pool = self._pools[key] = WatchedPool(key, limits)
            pool.report = self._report
        return super().get(key, limits, load)

    def all(self) -> list[Pool]:
        """Every pool."""
        return list(self._pools.values())


class WatchedCluster(Cluster):
    """A cluster whose balancer and budget are watched, and whose attempts are counted."""

    def __init__(
        self, service: Service, former: WatchedCluster | None, now: float, rng: random.Random, report: Report
    ) -> None:
        super().__init__(service, former, now, rng)
        retry = service.resilience.retry
        self._report = report
        self.tally = former.tally if former is not None else Tally()
        budget = former.watched_budget if former is not None else None
        self.watched_budget = budget or WatchedBudget(retry.ratio, retry.min_per_second, report)
        self.budget = self.watched_budget
        self.balancer = WatchedBalancer(self, rng, report, self.tally)
        hedge = service.resilience.hedge
        if self.hedge is not None and hedge is not None and former is None:
            self.hedge._budget = WatchedBudget(hedge.budget, 0.0, report)

    def pick(self, exchange: Exchange, now: float) -> EndpointState:
        state = super().pick(exchange, now)
        tally = self.tally
        tally.attempts += 1
        budget = self.watched_budget
        asked, granted = len(budget.requested), len(budget.retried)
        if tally.attempts - tally.hedges > asked + granted:
            self._report(f"{tally.attempts} attempts for {asked} requests and {granted} grants")
        return state

    def second(self, exchange: Exchange, first: EndpointState, now: float) -> EndpointState:
        self.tally.attempts += 1
        self.tally.hedges += 1
        return super().second(exchange, first, now)
