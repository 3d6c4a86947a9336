"""Generations: what an upgrade in place means to control.

The new control takes the admin addresses over when it is promoted. The retired one stays for its own workers, since
both ends of their links are of one version: it serves leaves, writes their access log, and passes what it has counted
on to its successor, first the sums of its whole life and then each second what was added, so that no counter falls
back and nothing that a draining worker counts is lost.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import trio

from proxyd.control.supervisor import SupervisorLink
from proxyd.core.messages import Generations as GenerationsMessage
from proxyd.core.messages import Message, Predecessor, Promote, Retire, Stats
from proxyd.net.frames import FrameLink
from proxyd.net.framing import LinkClosed, close_fds
from proxyd.telemetry.aggregate import Aggregate
from proxyd.wire import ipc

RELAY_SECONDS: Final = 1.0
FLUSH_SECONDS: Final = 1.0
SERIES_PER_FRAME: Final = 500
"""A frame stays well below its limit with labels of every length."""

Key = tuple[str, tuple[str, ...]]


class Admin(Protocol):
    """The admin side, as far as it changes hands."""

    def promote(self) -> None:
        """Put the admin socket into its place and serve the HTTP address."""
        ...

    def retire(self) -> None:
        """Leave the HTTP address to the successor."""
        ...


class Generations:
    """Which generation this control is of, which ones drain, and the links between their controls."""

    def __init__(self, supervisor: SupervisorLink, aggregate: Aggregate, retired: Callable[[], None]) -> None:
        self.number = 1
        self.draining: list[tuple[int, int]] = []
        """(generation, workers left)."""
        self.is_retired = False
        self.admin: Admin | None = None
        self.nursery: trio.Nursery | None = None
        self._supervisor = supervisor
        self._aggregate = aggregate
        self._retired = retired
        self._growth = Growth(aggregate)
        self._successor: FrameLink | None = None

    def handle(self, message: Message, fds: list[int]) -> None:
        """Act on what the supervisor says about generations; takes over the descriptors."""
        if self.nursery is None:
            close_fds(fds)
            return
        match message:
            case GenerationsMessage(number, draining):
                self.number, self.draining = number, draining
            case Promote():
                if self.admin is not None:
                    self.admin.promote()
                self.nursery.start_soon(self._supervisor.promoted)
            case Predecessor(generation):
                link = FrameLink.from_fd(fds[0], ipc.MAX_UP, accepts_fds=False)
                self.nursery.start_soon(self._hear, -generation, link)
            case Retire():
                self._retire(FrameLink.from_fd(fds[0], ipc.MAX_UP, accepts_fds=False))

    async def flush(self) -> None:
        """Pass the last numbers on, before the process ends."""
        with trio.move_on_after(FLUSH_SECONDS), contextlib.suppress(LinkClosed):
            if self._successor is not None:
                await self._send(self._successor)

    def _retire(self, successor: FrameLink) -> None:
        if not self.is_retired:
            self.is_retired = True
            if self.admin is not None:
                self.admin.retire()
            self._retired()
        former, self._successor = self._successor, successor
        if former is not None:
            former.close()
        if self.nursery is not None:
            self.nursery.start_soon(self._relay, successor)

    async def _relay(self, link: FrameLink) -> None:
        try:
            while self._successor is link:
                await self._send(link)
                await trio.sleep(RELAY_SECONDS)
        except LinkClosed:
            return
        finally:
            link.close()

    async def _send(self, link: FrameLink) -> None:
        for stats in self._growth.frames():
            await link.send(ipc.encode(stats))
            self._growth.told(stats)

    async def _hear(self, place: int, link: FrameLink) -> None:
        """Add up what a retired control reports, under a number that no worker has."""
        try:
            while True:
                message = ipc.decode(await link.receive(), ipc.RETIRED_TO_CONTROL)
                if isinstance(message, Stats):
                    self._aggregate.add(place, message)
        except (LinkClosed, ValueError):
            return
        finally:
            link.close()
            self._aggregate.forget(place)


class Growth:
    """What an Aggregate has gained since it was told last, as frames of statistics."""

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate = aggregate
        self._counters: dict[Key, float] = {}
        self._histograms: dict[Key, tuple[list[int], float]] = {}

    def frames(self) -> list[Stats]:
        """Return what was not told yet, the gauges with the first frame."""
        counters, histograms = list(self._counter_growth()), list(self._histogram_growth())
        frames = [Stats(counters[:SERIES_PER_FRAME], self._gauges(), histograms[:SERIES_PER_FRAME])]
        for start in range(SERIES_PER_FRAME, max(len(counters), len(histograms)), SERIES_PER_FRAME):
            stop = start + SERIES_PER_FRAME
            frames.append(Stats(counters[start:stop], [], histograms[start:stop]))
        return frames

    def told(self, stats: Stats) -> None:
        """Note that a frame has gone: one that has not is told to the next successor."""
        for name, labels, delta in stats.counters:
            key = (name, tuple(labels))
            self._counters[key] = self._counters.get(key, 0) + delta
        for name, labels, grown, added in stats.histograms:
            key = (name, tuple(labels))
            buckets, total = self._histograms.get(key, ([0] * len(grown), 0.0))
            self._histograms[key] = ([a + b for a, b in zip(buckets, grown, strict=True)], total + added)

    def _counter_growth(self) -> Iterator[list[Any]]:
        for metric, series in self._aggregate.counters():
            for labels, value in series.items():
                key = (metric.name, labels)
                if value > self._counters.get(key, 0):
                    yield [metric.name, list(labels), value - self._counters.get(key, 0)]

    def _histogram_growth(self) -> Iterator[list[Any]]:
        for metric, series in self._aggregate.histograms():
            for labels, histogram in series.items():
                key = (metric.name, labels)
                buckets, total = self._histograms.get(key, ([0] * len(histogram.buckets), 0.0))
                if histogram.buckets != buckets:
                    grown = [now - before for now, before in zip(histogram.buckets, buckets, strict=True)]
                    yield [metric.name, list(labels), grown, max(histogram.sum - total, 0.0)]

    def _gauges(self) -> list[list[Any]]:
        """Sum gauges over this control's own workers; its predecessors' come by links of their own."""
        sums: dict[Key, float] = {}
        for metric, workers in self._aggregate.gauges():
            for worker, series in workers.items():
                for labels, value in series.items() if worker >= 0 else ():
                    key = (metric.name, labels)
                    sums[key] = sums.get(key, 0) + value
        return [[name, list(labels), value] for (name, labels), value in sums.items()]
