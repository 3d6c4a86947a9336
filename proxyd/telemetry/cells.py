"""Numbers that control keeps itself: plain cells, bumped in place, found again by name and labels."""

import re
from collections.abc import Iterator
from typing import Final

from proxyd.core.metrics import METRICS, OWN, Kind, Metric

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,127}")
_TAKEN: Final = {metric.name: metric for metric in OWN}


class Cell:
    """One series; ``value += n`` is all that it takes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Cells:
    """All cells of one process; they outlive who asked for them, so that a counter never falls."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Metric, tuple[str, ...]], Cell] = {}
        self._metrics = dict(_TAKEN)

    def cell(self, metric: Metric, *labels: str) -> Cell:
        """Return the cell of one label set. ValueError: it would spoil the page of metrics."""
        if self._metrics.get(metric.name) is not metric:
            self._declare(metric)
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {', '.join(metric.labels) or 'of none'}, not {len(labels)}")
        return self._cells.setdefault((metric, labels), Cell())

    def forget(self, metric: Metric, *labels: str) -> None:
        """Show a gauge no more: what it was of is gone."""
        self._cells.pop((metric, labels), None)

    def _declare(self, metric: Metric) -> None:
        if self._metrics.setdefault(metric.name, metric) != metric or metric.name in METRICS:
            raise ValueError(f"another metric is called {metric.name}")
        if metric.kind is Kind.HISTOGRAM:
            raise ValueError(f"{metric.name}: a cell holds a counter or a gauge")
        if not all(map(_NAME.fullmatch, (metric.name, *metric.labels))):
            raise ValueError(f"{metric.name}: names are letters, digits and underscores")

    def __iter__(self) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
        for (metric, labels), cell in list(self._cells.items()):
            yield metric, labels, cell.value
