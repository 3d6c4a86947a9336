"""Everything that is counted, as families of samples: workers' sums, control's own cells, and what /proc says.

psutil is imported when families are first asked for: a daemon that nobody scrapes does not carry it.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import trio

import proxyd
from proxyd.core import metrics
from proxyd.core.metrics import Metric
from proxyd.telemetry.aggregate import Aggregate, Histogram, Labels
from proxyd.telemetry.cells import Cells

if TYPE_CHECKING:
    from proxyd.telemetry.processes import Usage

Processes = Callable[[], Iterable[tuple[str, int]]]
"""The processes that live now: (part, pid)."""

_USAGE: Final[tuple[tuple[Metric, Callable[["Usage"], float | None]], ...]] = (
    (metrics.PROCESS_CPU, lambda usage: usage.cpu_seconds),
    (metrics.PROCESS_RESIDENT, lambda usage: usage.resident_bytes),
    (metrics.PROCESS_PROPORTIONAL, lambda usage: usage.proportional_bytes),
    (metrics.PROCESS_FDS, lambda usage: usage.descriptors),
    (metrics.PROCESS_THREADS, lambda usage: usage.threads),
    (metrics.PROCESS_START, lambda usage: usage.started),
)


@dataclass(slots=True)
class Family:
    """One metric and its series; a reader's own copy."""

    metric: Metric
    samples: list[tuple[Labels, float | Histogram]] = field(default_factory=list)
    """Label values in the order of ``metric.labels``, and the value."""


class Families:
    """Gathers families from one Aggregate, the cells of control, and the processes that live."""

    def __init__(self, aggregate: Aggregate, cells: Cells, processes: Processes) -> None:
        self._aggregate = aggregate
        self._cells = cells
        self._processes = processes

    async def read(self) -> list[Family]:
        """Return all families. To be called in control's loop."""
        return self.counted() + await measured(self.processes())

    def counted(self) -> list[Family]:
        """Return what workers and control have counted."""
        return [*self._workers(), *self._own()]

    def processes(self) -> list[tuple[str, int]]:
        """Return the processes that live now."""
        return list(self._processes())

    def _workers(self) -> Iterator[Family]:
        for metric, series in self._aggregate.counters():
            yield Family(metric, list(series.items()))
        for metric, workers in self._aggregate.gauges():
            yield Family(
                replace(metric, labels=("worker", *metric.labels)),
                [
                    ((str(worker), *labels), value)
                    for worker, values in workers.items()
                    for labels, value in values.items()
                ],
            )
        for metric, histograms in self._aggregate.histograms():
            copies = ((labels, Histogram(list(one.buckets), one.sum)) for labels, one in histograms.items())
            yield Family(metric, list(copies))

    def _own(self) -> Iterator[Family]:
        """Yield what control counts, a family once however many cells it has."""
        version = (proxyd.__version__, platform.python_version())
        found = {metric: Family(metric) for metric in metrics.OWN if not metric.name.startswith("proxyd_process_")}
        found[metrics.STATS_REJECTED].samples.append(((), self._aggregate.rejected))
        found[metrics.BUILD_INFO].samples.append((version, 1))
        self._cells.cell(metrics.ACCESS_LOG_LOST)  # shown from the start, whether or not something is lost
        for metric, labels, value in self._cells:
            found.setdefault(metric, Family(metric)).samples.append((labels, value))
        yield from found.values()


async def measured(processes: Iterable[tuple[str, int]]) -> list[Family]:
    """Return what /proc says of these processes; it is read in a thread."""
    from proxyd.telemetry.processes import measure

    return usage_families(await trio.to_thread.run_sync(measure, list(processes)))


def usage_families(usages: "Iterable[Usage]") -> list[Family]:
    """Return the given readings of /proc; what could not be read is left out."""
    known = list(usages)
    families = []
    for metric, read in _USAGE:
        values = ((usage.process, read(usage)) for usage in known)
        families.append(Family(metric, [((process,), value) for process, value in values if value is not None]))
    return families
