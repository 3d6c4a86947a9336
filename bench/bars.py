"""What proxyd must reach, as data: one line for each figure that the project promises."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from bench.stats import Sample, ratio


class Bound(enum.Enum):
    """Which side of the limit is good."""

    AT_LEAST = ">="
    AT_MOST = "<="
    BELOW = "<"

    def holds(self, value: float, limit: float) -> bool:
        """Whether ``value`` is on the good side of ``limit``."""
        if self is Bound.AT_LEAST:
            return value >= limit
        return value <= limit if self is Bound.AT_MOST else value < limit


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise: a metric of proxyd, as a ratio to a peer's where ``peer`` is named, against a limit."""

    scenario: str
    metric: str
    bound: Bound
    limit: float
    peer: str | None = None

    @property
    def text(self) -> str:
        """The bar in words, for tables."""
        return f"{self.metric} {self.bound.value} {self.limit:g}" + (f" x {self.peer}" if self.peer else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar, what was measured, and whether it is met; None where a side was not measured."""

    bar: Bar
    value: float | None
    met: bool | None


BARS = (
    Bar("forward", "requests_per_second", Bound.AT_LEAST, 0.70, "envoy"),
    Bar("forward", "requests_per_second", Bound.AT_LEAST, 1.0, "squid"),
    Bar("forward", "requests_per_second", Bound.AT_LEAST, 1.5, "proxy.py"),
    Bar("forward", "requests_per_second", Bound.AT_LEAST, 15.0, "mitmproxy"),
    Bar("forward-c1", "p50_ms", Bound.AT_MOST, 1.2, "envoy"),
    Bar("forward-limits", "requests_per_second", Bound.AT_LEAST, 0.70, "envoy"),
    Bar("forward-limits", "requests_per_second", Bound.AT_LEAST, 1.0, "squid"),
    Bar("forward-limits", "requests_per_second", Bound.AT_LEAST, 1.5, "proxy.py"),
    Bar("forward-limits", "requests_per_second", Bound.AT_LEAST, 15.0, "mitmproxy"),
    Bar("cache", "requests_per_second", Bound.AT_LEAST, 1.5, "proxyd-uncached"),
    Bar("cache", "requests_per_second", Bound.AT_LEAST, 1.0, "squid"),
    Bar("tunnel", "gigabytes_per_second", Bound.AT_LEAST, 1.0, "haproxy"),
    Bar("tunnel", "neighbour_p99_ms", Bound.BELOW, 5.0),
    Bar("intercept", "requests_per_second", Bound.AT_LEAST, 12.0, "mitmproxy"),
    Bar("intercept-new", "requests_per_second", Bound.AT_LEAST, 8.0, "mitmproxy"),
    Bar("idle", "pss_mib", Bound.AT_MOST, 1.5, "envoy"),
    Bar("idle", "per_connection_kib", Bound.AT_MOST, 12.0),
    Bar("h2", "requests_per_second", Bound.AT_LEAST, 0.25, "envoy"),
    Bar("h2", "requests_per_second", Bound.AT_LEAST, 5.0, "mitmproxy"),
    Bar("h2-intercept", "requests_per_second", Bound.AT_LEAST, 5.0, "mitmproxy"),
    Bar("grpc", "requests_per_second", Bound.AT_LEAST, 0.18, "envoy"),
    Bar("stream", "p99_ms", Bound.AT_MOST, 5.0),
    Bar("stream-intercept", "p99_ms", Bound.AT_MOST, 5.0),
    Bar("start", "seconds", Bound.AT_MOST, 1.0),
)

OURS = "proxyd"


def judge(scenario: str, figures: Mapping[str, Sample]) -> list[Verdict]:
    """Hold the medians of each peer (``figures``) against the bars of ``scenario``."""
    own = figures.get(OURS, {})
    verdicts = []
    for bar in BARS:
        if bar.scenario != scenario:
            continue
        value = own.get(bar.metric)
        if bar.peer:
            value = ratio(value, figures.get(bar.peer, {}).get(bar.metric))
        verdicts.append(Verdict(bar, value, None if value is None else bar.bound.holds(value, bar.limit)))
    return verdicts
