"""The metrics page: everything that is counted, in Prometheus' text format.

prometheus_client and psutil are imported when the first page is asked for: a daemon that nobody scrapes does not
carry them.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import trio

import proxyd
from proxyd.telemetry.aggregate import Aggregate

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from proxyd.telemetry.processes import Usage

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Processes = Callable[[], Iterable[tuple[str, int]]]
"""The processes that live now: (part, pid)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A number that control itself keeps, such as lines that the access log lost."""

    name: str
    """Without ``_total``."""
    help: str
    value: float
    counter: bool = True
    """A gauge otherwise."""


class Exposition:
    """Renders pages from one Aggregate, control's own readings, and /proc."""

    def __init__(
        self, aggregate: Aggregate, processes: Processes = tuple, readings: Callable[[], Sequence[Reading]] = tuple
    ) -> None:
        self._aggregate = aggregate
        self._processes = processes
        self._readings = readings

    async def page(self) -> bytes:
        """Return the page; /proc is read in a thread."""
        from proxyd.telemetry.processes import measure

        usages = await trio.to_thread.run_sync(measure, list(self._processes()))
        return self.render(usages)

    def render(self, usages: "Sequence[Usage]") -> bytes:
        """Return the page for the given readings of /proc."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.registry import Collector

        families = [*self._workers(), *self._own(), *_build(), *_usage(usages)]

        class Once(Collector):
            def collect(self) -> Iterable["Family"]:
                return families

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Once())
        return generate_latest(registry)

    def _workers(self) -> Iterator["Family"]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for metric, series in self._aggregate.counters():
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in series.items():
                counter.add_metric(labels, value)
            yield counter
        for metric, workers in self._aggregate.gauges():
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=("worker", *metric.labels))
            for worker, values in workers.items():
                for labels, value in values.items():
                    gauge.add_metric((str(worker), *labels), value)
            yield gauge
        for metric, histograms in self._aggregate.histograms():
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            bounds = [*map(str, metric.buckets), "+Inf"]
            for labels, observed in histograms.items():
                family.add_metric(labels, list(zip(bounds, accumulate(observed.buckets), strict=True)), observed.sum)
            yield family

    def _own(self) -> Iterator["Family"]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        rejected = Reading(
            "proxyd_stats_rejected", "Entries of workers' statistics that did not fit.", self._aggregate.rejected
        )
        for reading in (rejected, *self._readings()):
            kind = CounterMetricFamily if reading.counter else GaugeMetricFamily
            yield kind(reading.name, reading.help, value=reading.value)


def _build() -> Iterator["Family"]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    info = GaugeMetricFamily("proxyd_build_info", "This daemon's version; always 1.", labels=("version", "python"))
    info.add_metric((proxyd.__version__, platform.python_version()), 1)
    yield info


def _usage(usages: "Sequence[Usage]") -> Iterator["Family"]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    cpu = CounterMetricFamily("proxyd_process_cpu_seconds", "User and system time.", labels=("process",))
    for usage in usages:
        cpu.add_metric((usage.process,), usage.cpu_seconds)
    yield cpu
    gauges: tuple[tuple[str, str, Callable[[Usage], float | None]], ...] = (
        ("resident_memory_bytes", "Resident memory.", lambda usage: usage.resident_bytes),
        ("proportional_memory_bytes", "Memory, shared pages divided (PSS).", lambda usage: usage.proportional_bytes),
        ("open_fds", "Open descriptors.", lambda usage: usage.descriptors),
        ("threads", "Threads.", lambda usage: usage.threads),
        ("start_time_seconds", "Start, in Unix time.", lambda usage: usage.started),
    )
    for name, text, read in gauges:
        family = GaugeMetricFamily(f"proxyd_process_{name}", text, labels=("process",))
        for usage in usages:
            value = read(usage)
            if value is not None:
                family.add_metric((usage.process,), value)
        yield family
