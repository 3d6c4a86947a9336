"""One simulation: clients, proxyd's router and what is under it, simulated servers, on a virtual clock.

Real: Router, Cluster, Balancer, Breaker, OutlierDetector, RetryBudget, Pool, the HTTP/1.1 connection with its codec,
the reaper. Simulated: time, sockets, servers, clients. All randomness comes from the seed, the scheduler's too, so a
seed gives the same result to the byte.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio
from trio._core import _run as scheduler
from trio.testing import MockClock

from bench.simulate.checks import MAX_TOLD, WatchedCluster, WatchedPools
from bench.simulate.network import MemoryConnector
from bench.simulate.scenarios import Scenario
from bench.simulate.upstream import Ledger, Server
from proxyd.core.authority import Authority
from proxyd.core.counts import PENDING, REQUESTS, RETRIES
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.headers import Headers
from proxyd.core.message import Body, BytesBody, Request
from proxyd.core.route import Chain, Route
from proxyd.core.service import BaseUrl, Endpoint, HostPattern, Service
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import OpenJudge
from proxyd.filters.concurrency import Admission, ConcurrencyFilter
from proxyd.filters.gradient import Gradient
from proxyd.net.reaper import Reaper
from proxyd.upstream.attempt import Attempts
from proxyd.upstream.router import Router
from proxyd.upstream.secrets import Secrets

HOST = "api.example"
PORT = 8080
PATIENCE = 300.0
"""Virtual seconds after the last request by which everything must have ended."""
POOL_SWEEP = 1.0
HELD_SECONDS = 3.0
"""The longest that a request is held before the router has it."""
BURST = 10

GONE = 499


@dataclass(slots=True)
class Answer:
    """What one client got."""

    number: int
    method: bytes
    began: float
    """Seconds from the simulation's start."""
    seconds: float = 0.0
    status: int = 0
    """Of the response; of the error where ``is_error``. 0: nothing, which must not be."""
    is_error: bool = False
    """Not an upstream's answer, or one that broke off."""
    attempts: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the client has what it asked for."""
        return self.status == 200 and not self.is_error


class PacedBody:
    """A request body that is still on its way, and cannot be had twice."""

    replayable = False

    def __init__(self, data: bytes, seconds: float) -> None:
        self.length: int | None = len(data)
        self.trailers: Headers = []
        self._left = data
        self._seconds = seconds / len(data)

    async def read(self) -> bytes:
        """Return the next byte when it has come."""
        if self._left:
            await trio.sleep(self._seconds)
        piece, self._left = self._left[:1], self._left[1:]
        return piece

    def take_ready(self) -> bytes | None:
        """It is not in memory."""
        return None

    def take_pending(self) -> bytes:
        """Nothing has come that was not read."""
        return b""

    def abandon(self) -> None:
        """Nothing to release."""

    def rewind(self) -> None:
        """What nobody read is at its start."""


@dataclass(slots=True)
class Outcome:
    """What a simulation came to."""

    answers: list[Answer] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    attempts: int = 0
    retries: int = 0
    hedges: int = 0
    panics: int = 0
    ejections: int = 0
    refused: int = 0
    """By adaptive concurrency."""
    limits: list[int] = field(default_factory=list)
    """Of adaptive concurrency: what held after each second."""
    most_connections: int = 0
    """Open to one server at a time."""
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def report(self, violation: str) -> None:
        """Note that something does not hold."""
        if len(self.violations) < MAX_TOLD:
            self.violations.append(violation)


def simulate(scenario: Scenario, seed: int) -> Outcome:
    """Run ``scenario`` to its end."""
    rng = random.Random(seed)
    clock = MockClock(autojump_threshold=0)
    clock.jump(1000.0 + 100.0 * rng.random())  # a monotonic clock does not begin at zero, nor on a full second
    world = World(scenario, rng)
    with _scheduled(rng):
        trio.run(world.run, clock=clock)
    return world.outcome


class World:
    """Everything in one simulation."""

    def __init__(self, scenario: Scenario, rng: random.Random) -> None:
        self.scenario = scenario
        self.outcome = Outcome()
        self._rng = rng
        self._reaper = Reaper()
        self._pools = WatchedPools(self.outcome.report)
        self._start = 0.0
        self.gradient: Gradient | None = None
        ports = range(PORT, PORT + len(scenario.servers))
        self._servers = {
            ("127.0.0.1", port): Server(
                phases,
                self.outcome.ledger,
                random.Random(rng.random()),
                slots=scenario.slots,
                queue=scenario.queue,
            )
            for port, phases in zip(ports, scenario.servers, strict=True)
        }
        self._addresses = [*self._servers]
        self._service = self._listing(scenario.listed or range(len(self._addresses)))
        self._snapshot = Snapshot(1, "simulated", 0, services=(self._service,))

    def _listing(self, numbers: Iterable[int]) -> Service:
        """Return the service with these of the servers as its endpoints."""
        scenario = self.scenario
        count = len(self._addresses)
        weights, priorities = scenario.weights or (1,) * count, scenario.priorities or (0,) * count
        return Service(
            "api",
            (HostPattern(HOST),),
            BaseUrl("http", HOST, 80),
            tuple(Endpoint(*self._addresses[number], weights[number], priorities[number]) for number in numbers),
            timeouts=scenario.timeouts,
            pool=scenario.pool,
            resilience=scenario.policy,
            source="dns api.example",
        )

    async def run(self) -> None:
        """Run until the last client has its answer, then look at what is left."""
        self._start = now = trio.current_time()
        scenario = self.scenario
        cluster = WatchedCluster(self._service, None, now, random.Random(self._rng.random()), self.outcome.report)
        connector = MemoryConnector(dict(self._servers), self._reaper)
        attempts = Attempts(connector, self._pools, Secrets(), self._snapshot.limits, "simulated", "simulated")
        router = Router(attempts, rng=random.Random(self._rng.random()))
        route = Route(self._service, scenario.timeouts, scenario.pool, OpenJudge())
        route.cluster = cluster
        adaptive = scenario.policy.adaptive_concurrency
        if adaptive is not None:
            self.gradient = Gradient(adaptive, "api", now)
            admission = Admission(self.gradient, lambda: cluster.load.total(REQUESTS), self._refused)
            route.chain = Chain([ConcurrencyFilter("api", admission)])
        async with trio.open_nursery() as background:
            for server in self._servers.values():
                await background.start(server.run)
            background.start_soon(self._reaper.run)
            background.start_soon(self._sweep_pools)
            moves = dict(scenario.moves)
            with trio.move_on_after(scenario.seconds + PATIENCE) as patience:
                async with trio.open_nursery() as clients:
                    for number, at in enumerate(self._arrivals()):
                        await trio.sleep_until(now + at)
                        for due in [due for due in moves if due <= at]:
                            route = self._moved(route, moves.pop(due))
                        clients.start_soon(self._client, number, router, route, clients)
            if patience.cancelled_caught:
                self.outcome.report("some exchange never ended")
            self._look_back(route.cluster)
            background.cancel_scope.cancel()

    def _moved(self, route: Route, numbers: Sequence[int]) -> Route:
        """Return a route to the same service with another list of endpoints."""
        cluster: WatchedCluster = route.cluster
        rng = random.Random(self._rng.random())
        self._service = self._listing(numbers)
        made = Route(self._service, self.scenario.timeouts, self.scenario.pool, OpenJudge())
        made.chain = route.chain
        made.cluster = WatchedCluster(self._service, cluster, trio.current_time(), rng, self.outcome.report)
        return made

    def _arrivals(self) -> list[float]:
        """Return the times of all requests."""
        scenario, rng = self.scenario, self._rng
        times: list[float] = []
        count = round(scenario.rate * scenario.seconds)
        while len(times) < count:
            at = rng.random() * scenario.seconds
            size = BURST if rng.random() < scenario.bursts / BURST else 1
            times += [at] * min(size, count - len(times))
        return sorted(times)

    async def _client(self, number: int, router: Router, route: Route, nursery: trio.Nursery) -> None:
        rng, scenario = self._rng, self.scenario
        method = b"POST" if rng.random() < scenario.posts else b"GET"
        body: Body = BytesBody(b"order" if method == b"POST" else b"")
        if method == b"POST" and scenario.uploads and rng.random() < scenario.uploads:
            body = PacedBody(b"order", rng.random())
        now = trio.current_time()
        request = Request(method, b"http", Authority(HOST, 80, False), b"/%d" % number, [], body)
        exchange = Exchange(Peer("apps", "127.0.0.1", uid=number % 7), self._snapshot, request, now, "plain")
        exchange.route = route
        exchange.service = self._service
        answer = Answer(number, method, now - self._start)
        self.outcome.answers.append(answer)
        fate = rng.random()
        if fate < scenario.leavers:
            nursery.start_soon(self._leave, exchange, answer, rng.random() * 0.1)
        if rng.random() < scenario.held:
            await trio.sleep(rng.random() * HELD_SECONDS)
            exchange.ready = trio.current_time()
        with trio.CancelScope() as scope:
            if scenario.leavers <= fate < 2 * scenario.leavers:
                scope.deadline = trio.current_time() + rng.random() * 0.1
            async with trio.open_nursery() as exchange.nursery:
                await self._exchange(exchange, answer, router)
                exchange.nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            answer.status, answer.is_error = GONE, True
        answer.attempts = exchange.attempts
        answer.seconds = trio.current_time() - now

    async def _exchange(self, exchange: Exchange, answer: Answer, router: Router) -> None:
        number = answer.number
        try:
            response = await exchange.route.chain.run(exchange, router)
            answer.status = response.status
            data = b""
            while piece := await response.body.read():
                data += piece
            if response.status == 200 and data != b"%d" % number:
                self.outcome.report(f"request {number} was answered with {data!r}")
        except ProxyError as error:
            exchange.error = error
            answer.status = error.status
            answer.is_error = True
        finally:
            if exchange.held is not None:
                exchange.held.leave(exchange)
            for hook in exchange.route.chain.done_hooks:
                hook(exchange)

    @staticmethod
    async def _leave(exchange: Exchange, answer: Answer, seconds: float) -> None:
        await trio.sleep(seconds)
        if not answer.attempts:
            exchange.abandon()

    def _refused(self) -> None:
        self.outcome.refused += 1

    async def _sweep_pools(self) -> None:
        while True:
            await trio.sleep(POOL_SWEEP)
            self._pools.sweep(trio.current_time())
            if self.gradient is not None:
                self.outcome.limits.append(int(self.gradient.bound))
            for address, server in self._servers.items():
                self.outcome.most_connections = max(self.outcome.most_connections, server.live)
                if server.live > self.scenario.pool.connections:
                    self.outcome.report(f"{server.live} connections to {address}")

    def _look_back(self, cluster: WatchedCluster) -> None:
        """Check what must hold when all is over."""
        outcome = self.outcome
        outcome.seconds = trio.current_time() - self._start
        outcome.attempts = cluster.tally.attempts
        outcome.retries = len(cluster.watched_budget.retried)
        outcome.hedges = cluster.tally.hedges
        outcome.panics = cluster.tally.panics
        for answer in outcome.answers:
            self._judge(answer)
        for state in cluster.states:
            outcome.ejections += state.ejections
            if state.pending:
                outcome.report(f"{state!r} has attempts pending that ended")
        if self.gradient is not None and self.gradient.under_way:
            outcome.report(f"{self.gradient!r} counts requests as under way")
        counts = [cluster.load.total(kind) for kind in (REQUESTS, PENDING, RETRIES)]
        if any(counts):
            outcome.report(f"{counts} requests, waiters and retries count as under way")
        later = trio.current_time() + 1000.0
        for guard in (cluster.breaker, *(state.breaker for state in cluster.states)):
            if guard is not None and not guard.is_ready(later):
                outcome.report(f"{guard!r} lets nothing through for ever")
        for pool in self._pools.all():
            if pool.open != len(pool.idle) or pool.waiters:
                outcome.report(f"{pool!r} has lent connections that nobody uses")
            pool.retire()
        for address, server in self._servers.items():
            if server.live:
                outcome.report(f"{server.live} connections to {address} are open that no pool knows")

    def _judge(self, answer: Answer) -> None:
        report, ledger = self.outcome.report, self.outcome.ledger
        if not answer.status or (not answer.attempts and answer.status not in (GONE, 503)):
            report(f"request {answer.number} was lost")
        effects = ledger.effects.get(answer.number, 0)
        if answer.method == b"POST" and effects > 1:
            report(f"the side effect of POST {answer.number} happened {effects} times")
        if answer.is_good and not effects:
            report(f"request {answer.number} was answered without being processed")
        most = max(self.scenario.policy.retry.attempts, 2)  # a stale connection is not the upstream's failure
        if self.scenario.policy.hedge is not None:
            most *= 2
        if answer.attempts > most:
            report(f"request {answer.number} took {answer.attempts} attempts, {most} are allowed")


@contextmanager
def _scheduled(rng: random.Random) -> Iterator[None]:
    """Have trio run ready tasks in an order that comes from the seed; it is what its Hypothesis plugin does."""
    former, state = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(rng.random())
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = former  # type: ignore[misc]
        scheduler._r.setstate(state)
