"""What proxyd must reach under faults, as data."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.bars import Bound
from bench.faults.products import CONNECT_SECONDS
from bench.faults.rows.dns import GRACE, TTL
from bench.stats import Sample, ratio


@dataclass(frozen=True, slots=True)
class FaultBar:
    """One promise: a metric of ``product`` in a row, as a ratio to ``peer``'s where one is named, against a limit."""

    row: str
    metric: str
    bound: Bound
    limit: float
    product: str = "proxyd"
    peer: str = ""

    @property
    def text(self) -> str:
        """The bar in words."""
        who = "" if self.product == "proxyd" else f"{self.product}: "
        return f"{who}{self.metric} {self.bound.value} {self.limit:g}" + (f" x {self.peer}" if self.peer else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar, what was measured, and whether it is met; None where a side was not measured."""

    bar: FaultBar
    value: float | None
    met: bool | None


BARS = (
    FaultBar("kill", "failed", Bound.AT_MOST, 0),
    FaultBar("slow", "p99_ms", Bound.AT_MOST, 1.0, peer="envoy"),
    FaultBar("slow", "p99_ms", Bound.AT_MOST, 0.5, "proxyd-hedging", "envoy"),
    FaultBar("slow", "extra_load", Bound.AT_MOST, 0.05, "proxyd-hedging"),
    FaultBar("errors", "success", Bound.AT_LEAST, 0.999),
    FaultBar("errors", "amplification", Bound.AT_MOST, 1.2),
    FaultBar("outage", "amplification", Bound.AT_MOST, 1.25),
    FaultBar("outage", "recovery_s", Bound.AT_MOST, 2.0),
    FaultBar("outage", "in_flight_peak", Bound.AT_MOST, 1000),
    FaultBar("outage", "pss_growth_mib", Bound.AT_MOST, 64),
    FaultBar("cuts", "failed_gets", Bound.AT_MOST, 0),
    FaultBar("cuts", "posts_doubled", Bound.AT_MOST, 0),
    FaultBar("cuts", "posts_lost", Bound.AT_MOST, 0),
    FaultBar("cuts", "offsets_left", Bound.AT_MOST, 0),
    FaultBar("dns", "failed", Bound.AT_MOST, 0),
    FaultBar("dns", "new_in_use_s", Bound.AT_MOST, TTL + GRACE),
    FaultBar("black-hole", "failed", Bound.AT_MOST, 0),
    FaultBar("black-hole", "failover_s", Bound.AT_MOST, CONNECT_SECONDS),
    FaultBar("black-hole", "met_later", Bound.AT_MOST, 1),
)


def judge(row: str, figures: Mapping[str, Sample]) -> list[Verdict]:
    """Hold each product's figures against the bars of ``row``."""
    verdicts = []
    for bar in BARS:
        if bar.row != row:
            continue
        value = figures.get(bar.product, {}).get(bar.metric)
        if bar.peer:
            value = ratio(value, figures.get(bar.peer, {}).get(bar.metric))
        verdicts.append(Verdict(bar, value, None if value is None else bar.bound.holds(value, bar.limit)))
    return verdicts
