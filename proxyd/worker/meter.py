"""Counters, gauges and histograms of one worker: plain cells that are bumped in place, deltas once a second."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from proxyd.core.messages import Stats
from proxyd.core.metrics import Metric


class Counter:
    """A cell; ``value += n`` is all that the hot path does."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, count: int) -> None:
        """Bump by ``count``, where a callable is needed."""
        self.value += count


class Histogram:
    """Bucket counts (the last one is +Inf) and the sum of what was observed, in seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation; a bucket's bound belongs to it."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Meter:
    """All cells of a worker."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, tuple[str, ...]], Counter] = {}
        self._histograms: dict[tuple[str, tuple[str, ...]], Histogram] = {}
        self._gauges: list[tuple[str, Callable[[], float]]] = []

    def counter(self, metric: Metric, *labels: str) -> Counter:
        """Return the cell of one label set."""
        return self._counters.setdefault((metric.name, labels), Counter())

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """Return the histogram of one label set."""
        return self._histograms.setdefault((metric.name, labels), Histogram(metric.buckets))

    def gauge(self, metric: Metric, read: Callable[[], float]) -> None:
        """Report ``read()`` with every frame."""
        self._gauges.append((metric.name, read))

    def collect(self) -> Stats:
        """Return and reset what has changed since the last call."""
        counters: list[list[Any]] = []
        histograms: list[list[Any]] = []
        for (name, labels), cell in self._counters.items():
            if cell.value:
                counters.append([name, list(labels), cell.value])
                cell.value = 0
        for (name, labels), histogram in self._histograms.items():
            if any(histogram.counts):
                histograms.append([name, list(labels), histogram.counts, histogram.total])
                histogram.counts = [0] * len(histogram.counts)
                histogram.total = 0.0
        return Stats(counters, [[name, [], read()] for name, read in self._gauges], histograms)
