"""Numbers that control keeps itself: plain cells, bumped in place, found again by name and labels."""

from collections.abc import Iterator

from proxyd.core.metrics import Metric


class Cell:
    """One series; ``value += n`` is all that it takes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Cells:
    """All cells of one process; they outlive who asked for them, so that a counter never falls."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Metric, tuple[str, ...]], Cell] = {}

    def cell(self, metric: Metric, *labels: str) -> Cell:
        """Return the cell of one label set."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {', '.join(metric.labels) or 'of none'}, not {len(labels)}")
        return self._cells.setdefault((metric, labels), Cell())

    def __iter__(self) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
        for (metric, labels), cell in list(self._cells.items()):
            yield metric, labels, cell.value
