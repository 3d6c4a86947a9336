"""Views of services and pools: what is configured and what it has served."""

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from proxyd.control.answers import Scalar, ask_all, rows
from proxyd.control.controller import Controller
from proxyd.core import metrics
from proxyd.core.metrics import Metric
from proxyd.core.service import Service
from proxyd.telemetry.exchanges import Filter
from proxyd.vault.state import SecretState

QUANTILES: Final = (0.5, 0.9, 0.99)
LATEST_ERRORS: Final = 10


def services(control: Controller) -> list[dict[str, Any]]:
    """Return the configured services and what they have served."""
    snapshot = control.snapshot
    if snapshot is None:
        return []
    requests, errors = tally(control, metrics.REQUESTS, 1), tally(control, metrics.ERRORS, 0)
    return [_overview(control, service, requests, errors) for service in snapshot.services]


async def service(control: Controller, found: Service) -> dict[str, Any]:
    """Return one service in detail."""
    requests, errors = tally(control, metrics.REQUESTS, 1), tally(control, metrics.ERRORS, 0)
    recent = control.tools.reports.recent
    names = {pattern.host for pattern in found.hosts} | {endpoint.host for endpoint in found.endpoints}
    return {
        **_overview(control, found, requests, errors),
        "insecure": found.insecure,
        "encoded_slash": found.encoded_slash,
        "timeouts": {
            name if isinstance(value, str) else f"{name}_seconds": value
            for name, value in asdict(found.timeouts).items()
        },
        "pool": asdict(found.pool),
        "thresholds": asdict(found.resilience.thresholds),
        "priority_class": found.priority_class.value,
        "fallback": [{"name": step.name, "on": " ".join(step.on)} for step in found.fallback],
        "by_status": dict(sorted(tally(control, metrics.REQUESTS, 2, (1, found.name)).items())),
        "by_flag": dict(sorted(tally(control, metrics.ERRORS, 1, (0, found.name)).items())),
        "latency": latency(control, found.name),
        "pools": [row for row in await pools(control) if _is_of(row, names)],
        "deprecations": control.endings.rows(found.name),
        "latest_errors": await recent.find(Filter(service=found.name, errors=True), LATEST_ERRORS),
    }


async def pools(control: Controller) -> list[dict[str, Scalar]]:
    """Return the upstream pools of every worker that answers."""
    links = list(control.links.values())
    answers = await ask_all(links, "pools")
    found = [{"worker": link.index, **row} for link in links for row in rows(answers.get(link.pid))]
    return sorted(found, key=lambda row: (row["worker"], str(row.get("address"))))


async def endpoints(control: Controller) -> list[dict[str, Scalar]]:
    """Return the endpoints of services as every worker that answers sees them."""
    links = list(control.links.values())
    answers = await ask_all(links, "endpoints")
    found = [{"worker": link.index, **row} for link in links for row in rows(answers.get(link.pid))]
    return sorted(found, key=lambda row: (str(row.get("service")), str(row.get("address")), str(row["worker"])))


def tally(control: Controller, wanted: Metric, place: int, only: tuple[int, str] | None = None) -> Tally[str]:
    """Return a counter summed by the label at ``place``, of the series whose label at ``only[0]`` is ``only[1]``."""
    sums: Tally[str] = Tally()
    for metric, series in control.tools.reports.aggregate.counters():
        if metric.name == wanted.name:
            for labels, value in series.items():
                if only is None or labels[only[0]] == only[1]:
                    sums[labels[place]] += int(value)
    return sums


def latency(control: Controller, name: str) -> dict[str, float | None]:
    """Return the quantiles of a service's exchanges in milliseconds, as upper bounds of the histogram's buckets."""
    for metric, series in control.tools.reports.aggregate.histograms():
        histogram = series.get((name,))
        if metric.name == metrics.DURATION.name and histogram is not None:
            return {f"p{round(q * 100)}_ms": _quantile(metric.buckets, histogram.buckets, q) for q in QUANTILES}
    return {}


def _overview(control: Controller, service: Service, requests: Tally[str], errors: Tally[str]) -> dict[str, Any]:
    base = service.base
    host = f"[{base.host}]" if ":" in base.host else base.host
    names = dict.fromkeys(name for auth in service.auths for name in auth.secret_names)
    return {
        "name": service.name,
        "hosts": list(map(str, service.hosts)),
        "base_url": f"{base.scheme}://{host}:{base.port}{base.path}",
        "endpoints": [endpoint.address for endpoint in service.endpoints],
        "auth": service.auths[0].scheme if service.auths else None,
        "secrets": [{"name": name, "state": _state(control.secrets.get(name))} for name in names],
        "requests": requests[service.name],
        "errors": errors[service.name],
    }


def _quantile(bounds: Sequence[float], counts: Sequence[int], wanted: float) -> float | None:
    """Return the bound of the bucket that holds the quantile; None: beyond the last bound, or nothing was counted."""
    total = sum(counts)
    left = wanted * total
    for bound, count in zip(bounds, counts, strict=False):  # the last count is of what is beyond every bound
        left -= count
        if total and left <= 0:
            return bound * 1000
    return None


def _is_of(row: dict[str, Scalar], hosts: set[str]) -> bool:
    """Whether a pool leads to one of these hosts: by its TLS name, else by its address."""
    return row.get("tls") in hosts or str(row.get("address")).rpartition(":")[0].strip("[]") in hosts


def _state(state: SecretState | None) -> str:
    if state is None or state.secret is None:
        return "missing"
    return "stale" if state.why else "ok"
