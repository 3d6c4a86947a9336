"""Views of processes: the workers, and where the memory goes."""

import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

import trio

from proxyd.control.answers import ask_all, row
from proxyd.control.controller import Controller
from proxyd.control.workers import WorkerLink
from proxyd.core import metrics
from proxyd.core.metrics import Metric
from proxyd.core.service import PriorityClass
from proxyd.net.process import proportional_bytes


async def workers(control: Controller) -> list[dict[str, Any]]:
    """Return the workers as ``status`` shows them: process, snapshot in use, connections."""
    links = _links(control)
    usages = await _measure([(link.title, link.pid) for link in links])
    active, lags = connections(control), _gauge(control, metrics.LOOP_LAG)
    return [
        {
            "index": link.index,
            "pid": link.pid,
            "applied": link.applied,
            "connections": active.get(link.index, 0),
            "lag_ms": round(lags.get(link.index, 0.0) * 1000, 1),
            **_usage(usages.get(link.pid)),
        }
        for link in links
    ]


async def workers_in_detail(control: Controller) -> list[dict[str, Any]]:
    """Return the workers with what they say of themselves."""
    links = _links(control)
    overview = {each["pid"]: each for each in await workers(control)}
    views = await ask_all(links, "connections")
    memory = await ask_all(links, "memory")
    detailed = []
    for link in links:
        about, sizes = row(views.get(link.pid)), row(memory.get(link.pid))
        known = overview.get(link.pid, {})
        detailed.append(
            {
                **known,
                "pss_bytes": sizes.get("pss_bytes") or known.get("pss_bytes"),
                "state": _state(link, about),
                "streams": about.get("streams"),
                "events_waiting": sizes.get("events_waiting"),
                "messages_waiting": link.waiting,
            }
        )
    return detailed


async def memory(control: Controller) -> dict[str, Any]:
    """Return PSS and RSS of all processes, and the sizes of what is kept in control and in workers."""
    links = _links(control)
    names = [("supervisor", os.getppid()), ("control", os.getpid())]
    names += [(f"worker-{link.index}", link.pid) for link in links]
    usages = await _measure(names)
    answers = {pid: row(answer) for pid, answer in (await ask_all(links, "memory")).items()}
    own = {pid: answer.pop("pss_bytes", None) for pid, answer in answers.items()}
    own[os.getpid()] = proportional_bytes()
    return {
        "processes": [
            {
                "process": name,
                "pid": pid,
                "pss_bytes": own.get(pid) or (usages[pid].proportional_bytes if pid in usages else None),
                "rss_bytes": usages[pid].resident_bytes if pid in usages else None,
            }
            for name, pid in names
        ],
        "control": {
            "allocated_blocks": sys.getallocatedblocks(),
            "collections": sum(generation["collections"] for generation in gc.get_stats()),
            **_tables(control),
        },
        "workers": [{"worker": link.index, **answers.get(link.pid, {})} for link in links],
    }


def connections(control: Controller) -> dict[int, float]:
    """Return the connections that are open, by worker."""
    return _gauge(control, metrics.DOWNSTREAM_ACTIVE)


def overloaded(control: Controller) -> Iterator[str]:
    """Say which workers refuse requests because they cannot keep up, for ``status``."""
    lags = _gauge(control, metrics.LOOP_LAG)
    names = [kind.value for kind in PriorityClass]
    for worker, classes in sorted(_gauge(control, metrics.SHED_CLASSES).items()):
        if worker >= 0 and classes > 0:
            lag, refused = lags.get(worker, 0.0), ", ".join(names[: int(classes)])
            yield f"worker {worker} cannot keep up, it is late by {lag:.1f} s: requests of class {refused} are refused"


def _gauge(control: Controller, wanted: Metric) -> dict[int, float]:
    return {
        worker: sum(series.values())
        for metric, by_worker in control.tools.reports.aggregate.gauges()
        if metric.name == wanted.name
        for worker, series in by_worker.items()
    }


def _tables(control: Controller) -> dict[str, Any]:
    reports = control.tools.reports
    aggregate = reports.aggregate
    series = sum(len(found) for _, found in (*aggregate.counters(), *aggregate.histograms()))
    return {
        "recent_exchanges": reports.recent.count,
        "recent_bytes": reports.recent.bytes,
        "subscribers": reports.recent.subscribers,
        "series": series,
        "leaves": len(control.leaves.kept()),
        "secrets": len(list(control.secrets)),
        "messages_waiting": sum(link.waiting for link in control.links.values()),
    }


async def _measure(processes: list[tuple[str, int]]) -> dict[int, Any]:
    from proxyd.telemetry.processes import measure  # psutil: only for those who ask

    return {usage.pid: usage for usage in await trio.to_thread.run_sync(measure, processes)}


def _usage(usage: Any) -> dict[str, Any]:
    return {
        "rss_bytes": usage.resident_bytes if usage else None,
        "pss_bytes": usage.proportional_bytes if usage else None,
        "cpu_seconds": usage.cpu_seconds if usage else None,
    }


def _state(link: WorkerLink, about: dict[str, Any]) -> str:
    if not link.is_open:
        return "gone"
    if not about:
        return "silent"
    if about.get("draining"):
        return "draining"
    return "ready" if link.applied else "starting"


def _links(control: Controller) -> list[WorkerLink]:
    return sorted(control.links.values(), key=lambda link: (link.index, link.pid))
