"""What all rows do: endpoints start, the product starts, the load runs, the fault comes, all of it ends."""

import abc
import contextlib
import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import trio

from bench.faults import endpoints
from bench.faults.endpoints import Endpoint, Kind
from bench.faults.load import Load, Method, only_gets
from bench.faults.products import Logged, Policy, Product
from bench.faults.tally import Outcome, failures
from bench.stats import Sample
from bench.tools import Tools

MIB = 1024 * 1024
LOOK = 0.5  # seconds between two looks at memory
SETTLE = 1.0  # seconds from the endpoints' start to the load


@dataclass(slots=True)
class Run:
    """One product under one row's fault; what the row's ``disturb`` and ``measure`` see."""

    product: Product
    endpoints: list[Endpoint]
    load: Load
    log: list[Logged] = field(default_factory=list)
    moments: dict[str, float] = field(default_factory=dict)
    """When the fault began and what else the row noted, in seconds since the load began."""
    clock: dict[str, str] = field(default_factory=dict)
    """The same moments by the wall clock, as access logs write it."""
    pss: list[int] = field(default_factory=list)

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of the requests."""
        return self.load.outcomes

    def note(self, name: str) -> None:
        """Remember that it is now."""
        self.moments[name] = self.load.now
        self.clock[name] = datetime.datetime.now(datetime.UTC).isoformat()

    async def at(self, seconds: float) -> None:
        """Wait until so many seconds of the load are over."""
        await trio.sleep(max(0.0, seconds - self.load.now))


class Row(abc.ABC):
    """One fault."""

    name: ClassVar[str]
    about: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    """Metrics in the table, the first one first."""
    seconds: ClassVar[float]
    """Of load, for each product; 30 at most."""
    products: ClassVar[tuple[str, ...]] = ("proxyd", "envoy")
    method: ClassVar[Method] = staticmethod(only_gets)
    balance: ClassVar[str] = "default"

    def obstacle(self) -> str:
        """Why it cannot be run here; empty where it can."""
        return ""

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[list[Kind]]:
        """The endpoints' kinds, inside what they need."""
        yield [Kind(), Kind(), Kind()]

    def policy(self, origins: list[Endpoint]) -> Policy:
        """What the product is told."""
        return Policy(tuple(one.address for one in origins), self.balance)

    async def disturb(self, run: Run) -> None:  # noqa: B027 - a fault that is there from the start needs nothing
        """Do what the row is about while the load runs."""

    def is_done(self, run: Run) -> bool:
        """Whether the load may end early."""
        return False

    @abc.abstractmethod
    def measure(self, run: Run) -> Sample:
        """The figures, while the endpoints still run."""

    def play(self, make: Callable[[Path, Policy, Tools], Product], folder: Path, tools: Tools) -> tuple[Sample, Run]:
        """One product's turn."""
        folder.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            origins = endpoints.make(stack.enter_context(self.surroundings()), folder)
            for origin in origins:
                stack.callback(origin.kill)
                origin.start()
            product = make(folder / "product", self.policy(origins), tools)
            stack.callback(product.stop)
            product.start()
            run = Run(product, origins, Load(product.port, self.seconds, type(self).method))
            trio.run(self._play, run)
            product.stop()
            run.log = product.log()
            return {**common(run), **self.measure(run)}, run

    async def _play(self, run: Run) -> None:
        await trio.sleep(SETTLE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_memory, run)
            async with trio.open_nursery() as working:
                working.start_soon(self.disturb, run)
                await run.load.run(lambda: self.is_done(run))
                working.cancel_scope.cancel()
            nursery.cancel_scope.cancel()


def common(run: Run) -> Sample:
    """What every row tells."""
    return {
        "requests": len(run.outcomes),
        "failed": len(failures(run.outcomes)),
        "in_flight_peak": run.load.most_under_way,
        "pss_peak_mib": max(run.pss, default=0) / MIB,
        "pss_growth_mib": (max(run.pss, default=0) - run.pss[0]) / MIB if run.pss else 0.0,
    }


async def _watch_memory(run: Run) -> None:
    while True:
        run.pss.append(await trio.to_thread.run_sync(run.product.pss_bytes))
        await trio.sleep(LOOK)
