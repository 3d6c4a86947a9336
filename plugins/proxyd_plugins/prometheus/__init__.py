"""The metrics page in Prometheus' text format.

prometheus_client is imported when the first page is asked for: a daemon that nobody scrapes does not carry it.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING

from proxyd.sdk import TEXT_FORMAT, Family, Histogram, Host, Kind

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Exposed

__all__ = ["Prometheus"]


class Prometheus:
    """Answers ``GET /metrics``."""

    content_type = TEXT_FORMAT

    def __init__(self, host: Host) -> None:
        self._host = host

    async def page(self) -> bytes:
        """Return the page as of now."""
        return render(await self._host.metrics())


def render(families: Iterable[Family]) -> bytes:
    """Return a page of these families."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    exposed = [_exposed(family) for family in families]

    class Once(Collector):
        def collect(self) -> "Iterable[Exposed]":
            return exposed

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry)


def _exposed(family: Family) -> "Exposed":
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    metric = family.metric
    if metric.kind is Kind.HISTOGRAM:
        bounds = [*map(str, metric.buckets), "+Inf"]
        shown = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in family.samples:
            if isinstance(value, Histogram):
                shown.add_metric(labels, list(zip(bounds, accumulate(value.buckets), strict=True)), value.sum)
        return shown
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    flat = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in family.samples:
        if not isinstance(value, Histogram):
            flat.add_metric(labels, value)
    return flat
