"""The sums of what workers counted.

Workers send deltas each second (core.messages.Stats). Their names, labels and numbers are not trusted: an entry that
does not fit its declaration in core.metrics is dropped and counted, and a family that has grown too many series puts
what is new under one series whose labels all say ``overflow``.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.core.messages import Stats
from proxyd.core.metrics import METRICS, Kind, Metric

SERIES_PER_FAMILY: Final = 4096
"""Beyond it a family's new label sets share one series; a scrape of a full family stays below a megabyte."""

LABEL_CHARACTERS: Final = 256
"""The longest label value; host names end at 253."""

OVERFLOW: Final = "overflow"

Labels = tuple[str, ...]


@dataclass(slots=True)
class Histogram:
    """Observations of one series: a count per bucket (the last one is +Inf), and their sum."""

    buckets: list[int]
    sum: float = 0.0


@dataclass(slots=True)
class Aggregate:
    """Counters and histograms summed over all workers that ever were; gauges by worker that is."""

    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    series_limit: int = SERIES_PER_FAMILY
    rejected: int = 0
    """Entries dropped because they did not fit their declaration."""
    _counters: dict[str, dict[Labels, float]] = field(default_factory=dict)
    _histograms: dict[str, dict[Labels, Histogram]] = field(default_factory=dict)
    _gauges: dict[int, dict[str, dict[Labels, float]]] = field(default_factory=dict)

    def add(self, worker: int, stats: Stats) -> None:
        """Take in one frame of ``worker``."""
        gauges = self._gauges.setdefault(worker, {})
        for entry in stats.counters:
            self._take(entry, Kind.COUNTER, 3, self._add_counter)
        for entry in stats.histograms:
            self._take(entry, Kind.HISTOGRAM, 4, self._add_histogram)
        for entry in stats.gauges:
            self._take(entry, Kind.GAUGE, 3, lambda metric, item: self._set_gauge(gauges, metric, item))

    def forget(self, worker: int) -> None:
        """Drop the gauges of a worker that is gone; what it counted stays."""
        self._gauges.pop(worker, None)

    def counters(self) -> Iterator[tuple[Metric, Mapping[Labels, float]]]:
        """Every counter family, those without a series yet included."""
        for metric in self._of(Kind.COUNTER):
            yield metric, self._counters.get(metric.name, {})

    def histograms(self) -> Iterator[tuple[Metric, Mapping[Labels, Histogram]]]:
        """Every histogram family."""
        for metric in self._of(Kind.HISTOGRAM):
            yield metric, self._histograms.get(metric.name, {})

    def gauges(self) -> Iterator[tuple[Metric, Mapping[int, Mapping[Labels, float]]]]:
        """Every gauge family, its series by worker."""
        for metric in self._of(Kind.GAUGE):
            yield metric, {worker: families.get(metric.name, {}) for worker, families in self._gauges.items()}

    def _of(self, kind: Kind) -> Iterator[Metric]:
        return (metric for metric in self.metrics.values() if metric.kind is kind)

    def _take(self, entry: Any, kind: Kind, length: int, apply: Any) -> None:
        if isinstance(entry, list | tuple) and len(entry) == length and isinstance(entry[0], str):
            metric = self.metrics.get(entry[0])
            if metric is not None and metric.kind is kind and apply(metric, entry):
                return
        self.rejected += 1

    def _add_counter(self, metric: Metric, entry: list[Any]) -> bool:
        delta = entry[2]
        if not _is_count(delta):
            return False
        series = self._counters.setdefault(metric.name, {})
        labels = self._labels(metric, entry[1], series)
        if labels is None:
            return False
        series[labels] = series.get(labels, 0) + delta
        return True

    def _set_gauge(self, gauges: dict[str, dict[Labels, float]], metric: Metric, entry: list[Any]) -> bool:
        if not _is_number(entry[2]):
            return False
        series = gauges.setdefault(metric.name, {})
        labels = self._labels(metric, entry[1], series)
        if labels is None:
            return False
        series[labels] = entry[2]
        return True

    def _add_histogram(self, metric: Metric, entry: list[Any]) -> bool:
        _, labels, buckets, total = entry
        size = len(metric.buckets) + 1
        if not (isinstance(buckets, list | tuple) and len(buckets) == size and all(map(_is_count, buckets))):
            return False
        if not _is_count(total):
            return False
        series = self._histograms.setdefault(metric.name, {})
        labels = self._labels(metric, labels, series)
        if labels is None:
            return False
        histogram = series.get(labels)
        if histogram is None:
            histogram = series[labels] = Histogram([0] * size)
        for index, delta in enumerate(buckets):
            histogram.buckets[index] += delta
        histogram.sum += total
        return True

    def _labels(self, metric: Metric, labels: Any, series: Mapping[Labels, Any]) -> Labels | None:
        """Return the key of the series that ``labels`` belong to, None when they are not this metric's."""
        if not isinstance(labels, list | tuple) or len(labels) != len(metric.labels):
            return None
        if not all(type(value) is str for value in labels):
            return None
        key = tuple(labels)
        if key in series:
            return key
        if not all(map(_is_label, key)):
            return None
        return key if len(series) < self.series_limit else (OVERFLOW,) * len(key)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_label(value: str) -> bool:
    if len(value) > LABEL_CHARACTERS:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate would break the whole exposition
        return False
    return True
