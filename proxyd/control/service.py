"""Control's answers to the admin side: plain values, secrets as names."""

import difflib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import proxyd
from proxyd.control import certificates, probes, processes, services
from proxyd.control.accounts import AccountDesk
from proxyd.control.controller import Controller
from proxyd.control.inject import FaultDesk
from proxyd.control.reach import reach
from proxyd.control.supervisor import UpgradeFailed
from proxyd.control.vault import VaultDesk, kind
from proxyd.core import metrics
from proxyd.core.plain import to_plain
from proxyd.core.refusal import Refusal
from proxyd.core.settings import Readers, Settings
from proxyd.core.snapshot import ListenerMode
from proxyd.net.process import is_dumpable_wanted
from proxyd.telemetry.exchanges import Filter
from proxyd.telemetry.log import Level
from proxyd.telemetry.recent import EXCHANGE, Subscription

CA_WARNING: Final = 30 * 86400.0
"""Before the root ends by this much, ``status`` says so."""
MAX_DRAIN: Final = 7 * 86400.0


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
    readers: Readers = field(default_factory=Readers)
    """Of the first configuration; the socket's mode is theirs."""
    token_path: str = ""
    """The file with the gateways' token."""


class ControlService:
    """Satisfies proxyd.admin's Service."""

    def __init__(self, controller: Controller, facts: Facts, vault: VaultDesk) -> None:
        self._controller = controller
        self._facts = facts
        self.vault = vault
        """Secrets at rest."""
        self.faults = FaultDesk(controller)
        """Faults that are injected."""
        self.accounts = AccountDesk(controller)
        """Limits, quotas and caches."""

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
            "workers": await processes.workers(control),
            "problems": [*self._problems(now)],
        }

    async def services(self) -> list[Any]:
        """Return the configured services and what they have served."""
        return services.services(self._controller)

    async def service(self, name: str) -> dict[str, Any]:
        """Return one service in detail. Refusal: there is none of this name."""
        snapshot = self._controller.snapshot
        known = {service.name: service for service in (snapshot.services if snapshot else ())}
        if name not in known:
            nearest = next(iter(difflib.get_close_matches(name, known, 1)), None)
            raise Refusal("not_found", f"there is no service {name!r}; `services` lists them", nearest)
        return await services.service(self._controller, known[name])

    async def tokens(self) -> list[Any]:
        """Return how the tokens of issuers are."""
        return list(self._controller.tokens.rows())

    async def unknown_hosts(self) -> list[Any]:
        """Return the hosts that are no service and were asked for."""
        return list(self._controller.tools.reports.unknown.rows())

    async def probes(self) -> list[Any]:
        """Return how each service is asked whether it takes its credential."""
        return list(probes.probes(self._controller))

    async def pools(self) -> list[Any]:
        """Return the upstream pools of every worker that answers."""
        return list(await services.pools(self._controller))

    async def endpoints(self) -> list[Any]:
        """Return the endpoints of services as every worker that answers sees them."""
        return list(await services.endpoints(self._controller))

    async def hold_breaker(self, service: str, state: str, endpoint: str | None = None) -> dict[str, Any]:
        """Hold a breaker ``open`` or ``closed``, or let it go (``auto``). Refusal: there is none."""
        control = self._controller
        control.overrides.hold_breaker(control.snapshot.services if control.snapshot else (), service, state, endpoint)
        return {"ok": True, "held": control.tell_overrides()}

    async def hold_endpoint(self, service: str, state: str, endpoint: str) -> dict[str, Any]:
        """Hold an endpoint ``up`` or ``down``, or let it go (``auto``). Refusal: there is none."""
        control = self._controller
        control.overrides.hold_endpoint(control.snapshot.services if control.snapshot else (), service, state, endpoint)
        return {"ok": True, "held": control.tell_overrides()}

    async def exchanges(self, wanted: Filter, limit: int) -> list[Any]:
        """Return the latest exchanges that are wanted, the oldest first. Refusal: none are kept."""
        recent = self._controller.tools.reports.recent
        if not recent.size:
            raise Refusal("not_kept", "no exchanges are kept: telemetry.recent is 0")
        return list(await recent.find(wanted, limit))

    def subscribe(self, wanted: Filter, kinds: Sequence[str], buffer: int) -> Subscription:
        """Listen to exchanges and notices. TooManySubscribers; Refusal: workers report no exchanges."""
        snapshot = self._controller.snapshot
        if EXCHANGE in kinds and snapshot is not None and not snapshot.access_log:
            raise Refusal("not_kept", "exchanges are not reported: telemetry.recent is 0 and there is no sink for them")
        return self._controller.tools.reports.recent.subscribe(wanted, kinds, buffer)

    async def certificates(self) -> list[Any]:
        """Return every certificate in play, the one that ends first on top."""
        return certificates.certificates(self._controller, self._controller.tools.authority)

    async def workers(self) -> list[Any]:
        """Return the workers in detail."""
        return await processes.workers_in_detail(self._controller)

    async def memory(self) -> dict[str, Any]:
        """Return where the memory goes."""
        return await processes.memory(self._controller)

    async def log_level(self, level: str | None = None) -> dict[str, Any]:
        """Return the level of the daemon's log, after it was set if one is given."""
        log = self._controller.tools.log
        if level is not None:
            log.warning("log_level_changed", former=log.level.name.lower(), latter=level)
            log.level = Level[level.upper()]
        return {"level": log.level.name.lower()}

    def readers(self) -> Readers:
        """Return who may look, beside root and the daemon's user."""
        settings = self._controller.settings
        return settings.admin_readers if settings else self._facts.readers

    async def config(self) -> dict[str, Any]:
        """Return the settings in use; of a secret its name and the kind of its source."""
        settings = self._controller.settings
        if settings is None:
            return {}
        plain: dict[str, Any] = to_plain(settings)
        plain["secrets"] = [{"name": source.name, "source": kind(source)} for source in settings.secrets]
        plain["vaults"] = [
            {"name": vault.name, "kind": vault.kind, "addresses": list(vault.addresses)} for vault in settings.vaults
        ]
        plain["extra_roots_pem"] = f"{settings.extra_roots_pem.count(b'-----BEGIN CERTIFICATE-----')} certificates"
        return plain

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again and wait until workers use it."""
        outcome = await self._controller.reload()
        return {"ok": outcome.ok, "version": outcome.version, "problems": outcome.problems}

    async def drain(self, *, exit: bool = False, seconds: float | None = None) -> dict[str, Any]:  # noqa: A002
        """Stop accepting; with ``exit`` end when what runs has finished, and return at once. Refusal: not now."""
        settings = self._controller.settings
        if seconds is None:
            seconds = settings.drain_timeout if settings else 0.0
        seconds = min(float(seconds), MAX_DRAIN)
        if exit:
            await self._controller.supervisor.shutdown(seconds)
        else:
            problems = await self._controller.drain(seconds)
            if problems:
                raise Refusal("refused", "; ".join(problems))
        return {"ok": True, "exit": exit, "seconds": seconds}

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
        if self._controller.is_drained:  # a new generation would listen again, and nobody has asked for that
            problem = "it is drained, and the next generation would accept connections; `proxyd reload` ends the drain"
            return {"ok": False, "generation": self._controller.generations.number, "problem": problem}
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
        """Return what a client's environment needs."""
        settings = self._controller.settings
        return {
            **reach(settings, self._controller.sockets, self._facts.token_path),
            "ca_bundle": self._facts.bundle_path,
            "ca": self._facts.ca_path,
            "secret_variables": [
                *([source.env for source in settings.secrets if source.env] if settings else []),
                *self.vault.variables,
            ],
        }

    # --- parts ------------------------------------------------------------------------------------

    def _state(self) -> str:
        if self._controller.is_draining:
            return "draining"
        if self._controller.is_drained:
            return "drained"
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
        connections = processes.connections(self._controller)
        return [
            {"generation": number, "workers": workers, "connections": int(connections.get(-number, 0))}
            for number, workers in self._controller.generations.draining
        ]

    def _listeners(self, settings: Settings | None) -> list[dict[str, str | None]]:
        sockets = self._controller.sockets
        return [
            {
                "name": listener.name,
                "mode": listener.mode.value,
                "address": sockets[listener.name].address,
                "unknown_hosts": listener.unknown_hosts.value if listener.mode is ListenerMode.FORWARD else None,
            }
            for listener in (settings.listeners if settings else ())
            if listener.name in sockets
        ]

    def _problems(self, now: float) -> Iterable[str]:
        control = self._controller
        if control.is_drained:
            yield "no connections are accepted: the daemon was told to drain; proxyd reload ends it"
        yield from control.secrets.problems
        yield from control.ages.problems
        yield from (f"the last reload was refused: {text}" for text in control.refusal)
        yield from control.notes
        yield from control.tools.reports.sinks.problems
        yield from control.health.problems(now)
        yield from control.overrides.problems()
        yield from control.faults.problems(now)
        yield from control.storage.problems
        yield from control.tokens.problems
        yield from control.endings.problems
        yield from control.discovery.problems
        yield from processes.overloaded(control)
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
            yield f"the local CA ends in {left / 86400:.0f} days: make a new one (proxyd ca renew) and install it"
