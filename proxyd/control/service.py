"""Control's answers to the admin side: plain values, secrets as names."""

import os
import time
from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import trio

import proxyd
from proxyd.control.controller import Controller
from proxyd.control.supervisor import UpgradeFailed
from proxyd.control.workers import WorkerLink
from proxyd.core import metrics
from proxyd.core.metrics import Metric
from proxyd.core.plain import to_plain
from proxyd.core.service import HostPattern, Service
from proxyd.core.settings import SecretSource, Settings
from proxyd.net.process import is_dumpable_wanted
from proxyd.vault.secrets import SecretState

ASK_SECONDS: Final = 2.0
"""What a worker's answer is waited for; a stopped one is left out."""
MAX_ROWS: Final = 4096
"""Rows of a worker's answer; what is over is dropped."""
TEXT_CHARACTERS: Final = 256
CA_WARNING: Final = 30 * 86400.0
"""Before the root ends by this much, ``status`` says so."""

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Facts:
    """What control found at its start."""

    started: float
    """Unix time."""
    ca_path: str
    bundle_path: str
    admin_socket: str = ""
    admin_http: str = ""
    """As bound; empty: none."""


class ControlService:
    """Satisfies proxyd.admin's Service."""

    def __init__(self, controller: Controller, facts: Facts) -> None:
        self._controller = controller
        self._facts = facts

    async def status(self) -> dict[str, Any]:
        """Return the daemon at a glance."""
        control, facts = self._controller, self._facts
        settings, authority = control.settings, control.tools.authority
        now = time.time()
        return {
            "name": "proxyd",
            "version": proxyd.__version__,
            "state": self._state(),
            "pid": os.getppid(),
            "control_pid": os.getpid(),
            "uptime_seconds": round(now - facts.started, 3),
            "snapshot": control.snapshot.version if control.snapshot else 0,
            "config": settings.source if settings else None,
            "admin_socket": facts.admin_socket,
            "admin_http": facts.admin_http or None,
            "ca_fingerprint": authority.fingerprint,
            "ca_ends": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(authority.expires)),
            "dumpable": is_dumpable_wanted(),
            "generation": control.generations.number,
            "draining": self._draining(),
            "totals": self._totals(),
            "listeners": self._listeners(settings),
            "workers": await self._workers(),
            "problems": [*self._problems(now)],
        }

    async def services(self) -> list[Any]:
        """Return the configured services and what they have served."""
        settings = self._controller.settings
        if settings is None:
            return []
        requests, errors = self._by_label(metrics.REQUESTS, 1), self._by_label(metrics.ERRORS, 0)
        return [self._service(service, requests, errors) for service in settings.services]

    async def pools(self) -> list[Any]:
        """Return the upstream pools of every worker that answers."""
        rows: list[dict[str, Scalar]] = []

        async def one(link: WorkerLink) -> None:
            answer = await link.ask("pools", ASK_SECONDS)
            rows.extend({"worker": link.index, **row} for row in _rows(answer))

        async with trio.open_nursery() as nursery:
            for link in list(self._controller.links.values()):
                nursery.start_soon(one, link)
        return sorted(rows, key=lambda row: (row["worker"], str(row.get("address"))))

    async def config(self) -> dict[str, Any]:
        """Return the settings in use; of a secret its name and the kind of its source."""
        settings = self._controller.settings
        if settings is None:
            return {}
        plain: dict[str, Any] = to_plain(settings)
        plain["secrets"] = [{"name": source.name, "source": _kind(source)} for source in settings.secrets]
        plain["extra_roots_pem"] = f"{settings.extra_roots_pem.count(b'-----BEGIN CERTIFICATE-----')} certificates"
        return plain

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again and wait until workers use it."""
        outcome = await self._controller.reload()
        return {"ok": outcome.ok, "version": outcome.version, "problems": outcome.problems}

    async def stop(self) -> dict[str, Any]:
        """Have everything drain and end; returns at once."""
        settings = self._controller.settings
        seconds = settings.drain_timeout if settings else 0.0
        await self._controller.supervisor.shutdown(seconds)
        return {"ok": True, "drain_seconds": seconds}

    async def upgrade(self, seconds: float, drain: float | None) -> dict[str, Any]:
        """Have the program on disk take over; ``drain`` None: what the configuration gives tunnels to end."""
        settings = self._controller.settings
        if settings is None:
            return {"ok": False, "generation": 0, "problem": "proxyd is still starting; try again when it is ready"}
        try:
            limit = settings.upgrade_drain if drain is None else drain
            generation = await self._controller.supervisor.upgrade(seconds, limit)
        except UpgradeFailed as error:
            return {"ok": False, "generation": self._controller.generations.number, "problem": str(error)}
        return {"ok": True, "generation": generation, "drain_seconds": limit}

    async def is_ready(self) -> bool:
        """Whether every worker has applied a snapshot."""
        return self._controller.is_ready

    async def metrics_text(self) -> bytes:
        """Return the metrics page."""
        return await self._controller.tools.reports.page()

    async def ca_pem(self) -> str:
        """Return the certificate that clients must trust."""
        return self._controller.tools.authority.root_pem.decode("ascii")

    async def environment(self) -> dict[str, Any]:
        """Return what a client's environment needs. ``proxy`` is None where no listener takes clients without a
        password.
        """
        settings = self._controller.settings
        return {
            "proxy": self._proxy(settings),
            "ca_bundle": self._facts.bundle_path,
            "ca": self._facts.ca_path,
            "secret_variables": [source.env for source in settings.secrets if source.env] if settings else [],
        }

    # --- parts ------------------------------------------------------------------------------------

    def _state(self) -> str:
        if self._controller.is_draining:
            return "draining"
        return "ready" if self._controller.is_ready else "starting"

    def _totals(self) -> dict[str, float]:
        aggregate = self._controller.tools.reports.aggregate
        totals = {metric.name: sum(series.values()) for metric, series in aggregate.counters()}
        active = {metric.name: workers for metric, workers in aggregate.gauges()}[metrics.DOWNSTREAM_ACTIVE.name]
        return {
            "requests": totals[metrics.REQUESTS.name],
            "errors": totals[metrics.ERRORS.name],
            "tunnels": totals[metrics.TUNNELS.name],
            "connections": totals[metrics.DOWNSTREAM_CONNECTIONS.name],
            "active": sum(sum(series.values()) for series in active.values()),
        }

    def _draining(self) -> list[dict[str, int]]:
        """Former generations, and what they still carry: their controls report it each second."""
        connections = self._gauge(metrics.DOWNSTREAM_ACTIVE)
        return [
            {"generation": number, "workers": workers, "connections": int(connections.get(-number, 0))}
            for number, workers in self._controller.generations.draining
        ]

    def _listeners(self, settings: Settings | None) -> list[dict[str, str]]:
        sockets = self._controller.sockets
        return [
            {
                "name": listener.name,
                "mode": listener.mode.value,
                "address": sockets[listener.name].address,
                "unknown_hosts": listener.unknown_hosts.value,
            }
            for listener in (settings.listeners if settings else ())
            if listener.name in sockets
        ]

    async def _workers(self) -> list[dict[str, Any]]:
        from proxyd.telemetry.processes import measure  # psutil: only for those who ask

        links = sorted(self._controller.links.values(), key=lambda link: (link.index, link.pid))
        usages = await trio.to_thread.run_sync(measure, [(link.title, link.pid) for link in links])
        by_pid = {usage.pid: usage for usage in usages}
        connections = self._gauge(metrics.DOWNSTREAM_ACTIVE)
        rows: list[dict[str, Any]] = []
        for link in links:
            usage = by_pid.get(link.pid)
            rows.append(
                {
                    "index": link.index,
                    "pid": link.pid,
                    "applied": link.applied,
                    "connections": connections.get(link.index, 0),
                    "rss_bytes": usage.resident_bytes if usage else None,
                    "pss_bytes": usage.proportional_bytes if usage else None,
                    "cpu_seconds": usage.cpu_seconds if usage else None,
                }
            )
        return rows

    def _problems(self, now: float) -> Iterable[str]:
        control = self._controller
        yield from control.secrets.problems
        yield from (f"the last reload was refused: {text}" for text in control.refusal)
        yield from control.notes
        version = control.snapshot.version if control.snapshot else 0
        for link in control.links.values():
            if not link.is_open:
                yield f"{link.title} has ended its link to control"
            elif link.refused == version and version:
                yield f"{link.title} refuses the configuration: {link.why}"
            elif link.applied < version:
                yield f"{link.title} does not use the latest configuration yet"
        left = control.tools.authority.expires - now
        if left < CA_WARNING:
            yield f"the local CA ends in {left / 86400:.0f} days: remove it from the state folder and install a new one"

    def _service(self, service: Service, requests: Tally[str], errors: Tally[str]) -> dict[str, Any]:
        auth = service.auth
        base = service.base
        host = f"[{base.host}]" if ":" in base.host else base.host
        names = [part.secret for part in auth.parts] + ([auth.user_secret] if auth.user_secret else []) if auth else []
        return {
            "name": service.name,
            "hosts": [pattern_text(pattern) for pattern in service.hosts],
            "base_url": f"{base.scheme}://{host}:{base.port}{base.path}",
            "endpoints": [f"{endpoint.host}:{endpoint.port}" for endpoint in service.endpoints],
            "auth": auth.scheme if auth else None,
            "secrets": [{"name": name, "state": _state(self._controller.secrets.get(name))} for name in names],
            "requests": requests[service.name],
            "errors": errors[service.name],
        }

    def _by_label(self, wanted: Metric, place: int) -> Tally[str]:
        tally: Tally[str] = Tally()
        for metric, series in self._controller.tools.reports.aggregate.counters():
            if metric.name == wanted.name:
                for labels, value in series.items():
                    tally[labels[place]] += int(value)
        return tally

    def _gauge(self, wanted: Metric) -> dict[int, float]:
        return {
            worker: sum(series.values())
            for metric, workers in self._controller.tools.reports.aggregate.gauges()
            if metric.name == wanted.name
            for worker, series in workers.items()
        }

    def _proxy(self, settings: Settings | None) -> str | None:
        for listener in settings.listeners if settings else ():
            socket = self._controller.sockets.get(listener.name)
            if socket is None or listener.users or not socket.address.rpartition(":")[2].isdigit():
                continue
            host, _, port = socket.address.rpartition(":")
            return f"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"  # noqa: S104
        return None


def pattern_text(pattern: HostPattern) -> str:
    """Return a host pattern as the configuration spells it."""
    host = f"[{pattern.host}]" if ":" in pattern.host else pattern.host
    if pattern.wildcard:
        host = f"*.{host}" if host else "*"
    return host if pattern.port is None else f"{host}:{pattern.port}"


def _kind(source: SecretSource) -> str:
    return "env" if source.env else "file" if source.file else "command"


def _state(state: SecretState | None) -> str:
    if state is None or state.secret is None:
        return "missing"
    return "stale" if state.why else "ok"


def _rows(answer: Any) -> list[dict[str, Scalar]]:
    """Return a worker's answer as rows of scalars; what is anything else is left out: workers are not trusted."""
    if not isinstance(answer, list):
        return []
    return [
        {
            str(name)[:TEXT_CHARACTERS]: value[:TEXT_CHARACTERS] if isinstance(value, str) else value
            for name, value in list(row.items())[:TEXT_CHARACTERS]
            if value is None or isinstance(value, str | int | float | bool)
        }
        for row in answer[:MAX_ROWS]
        if isinstance(row, dict)
    ]
