"""The state of the control process: which configuration is in use, and who has to know of it.

A configuration is brought in by one method, ``_install``: first everything that can fail (secrets are read, the CA's
constraints and the access log set, and last the listeners bound, all or nothing), then everything that cannot
(secrets, leaves and the snapshot to every worker). Nothing else changes what is in use, and one task runs it, so that
a caller who gives up leaves no half of a configuration behind.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from proxyd.control import certificates
from proxyd.control.ages import MATERIAL, Ages, Subject, of_secret
from proxyd.control.briefing import Briefing
from proxyd.control.compose import compose, intercepted_hosts, intercepts_all, unchangeable, with_found
from proxyd.control.credentials import credential, log_change, withdrawn, withheld
from proxyd.control.discovery.desk import Discoveries
from proxyd.control.discovery.memory import Memory
from proxyd.control.endings import Endings
from proxyd.control.faults import Faults
from proxyd.control.fleet import Fleet
from proxyd.control.generations import Generations
from proxyd.control.health import HealthChecks
from proxyd.control.idempotency import Idempotency
from proxyd.control.jobs import BUSY, Jobs, Outcome
from proxyd.control.leases import Leases
from proxyd.control.leaves import Leaves
from proxyd.control.overrides import Overrides
from proxyd.control.pace import COMMANDS, LOOKUPS, OPENINGS, PROBES, Pace
from proxyd.control.questions import Questions
from proxyd.control.read import SettingsError
from proxyd.control.sharing import Sharing
from proxyd.control.sinks import opened
from proxyd.control.storage import Storage
from proxyd.control.supervisor import BindFailed, Socket, SupervisorLink
from proxyd.control.tokens import Tokens
from proxyd.control.tools import Tools
from proxyd.control.upstream_certificates import UpstreamCertificates
from proxyd.control.vaults import opener
from proxyd.control.workers import WorkerLink, credentials_settled, settled
from proxyd.core.access import Access
from proxyd.core.messages import (
    ApplySnapshot,
    Drain,
    Message,
    Reload,
    Reopen,
    SetCredentials,
    SetHealth,
    WorkerExited,
    WorkerStarted,
)
from proxyd.core.service import written
from proxyd.core.settings import Settings
from proxyd.core.snapshot import Snapshot
from proxyd.net.frames import FrameLink
from proxyd.net.framing import close_fds
from proxyd.telemetry.log import Level
from proxyd.tokens.errors import TokenError
from proxyd.vault.errors import VaultError
from proxyd.vault.outside.vaults import Vaults
from proxyd.vault.secrets import Secrets
from proxyd.vault.state import SecretState

APPLY_SECONDS: Final = 10.0
"""How long a reload waits for workers; what they have not applied then reaches them when they go on."""


class Controller:
    """Owns the settings in use, and has the workers (``fleet``) know of all that follows from them."""

    def __init__(self, tools: Tools, supervisor: FrameLink, links: dict[int, WorkerLink] | None = None) -> None:
        self.tools = tools
        self.settings: Settings | None = None
        self.snapshot: Snapshot | None = None
        self.sockets: Mapping[str, Socket] = {}
        self._paces = [Pace(*one) for one in (COMMANDS, LOOKUPS, PROBES, OPENINGS)]
        commands, lookups, probes, openings = self._paces
        self.vaults = Vaults(opener(self._login_secret, self._log_vault), self._log_vault, turn=commands.turn)
        self.secrets = Secrets(self._secret_changed, tools.vault, turn=commands.turn, vaults=self.vaults)
        self.drained: float | None = None
        """Seconds of a drain: no listener is open, by order; a reload opens them again."""
        self.refusal: list[str] = []
        """Why the last reload was refused; empty: it was not."""
        self.notes: list[str] = []
        """What the last reload could not change or finish."""
        self.supervisor = SupervisorLink(supervisor, self._from_supervisor)
        self.generations = Generations(self.supervisor, tools.reports.aggregate, self._retire)
        self.leaves = Leaves(tools.authority)
        self.lending = Leases(tools.log, tools.instance.member or tools.instance.pseudonym)
        self.keys = Idempotency(self.lending, tools.instance.pseudonym)
        self.sharing = Sharing(
            tools.instance.member or tools.instance.pseudonym,
            self._secret_value,
            lambda: self.lending.store,
            lambda: self.lending.is_fleet,
            self.lending.tried,
        )
        self.tokens = Tokens(
            tools.log,
            self._publish,
            self._secret_value,
            self._keep_secret,
            commands.turn,
            sharing=self.sharing,
            cells=tools.reports.cells,
        )
        self.endings = Endings(tools.reports.notice)
        self.ages = Ages(tools.reports.notice, tools.reports.cells)
        self.upstream_certificates = UpstreamCertificates()
        questions = Questions(
            self.leaves,
            self.lending,
            self.keys,
            self.tokens,
            self.endings,
            self.upstream_certificates,
            self.ages,
            tools.reports,
        )
        self.fleet = Fleet(tools, self._greet, questions.take, links)
        self.faults = Faults(self.fleet.put)
        state_dir = tools.reports.services.state_dir
        memory = Memory(state_dir) if state_dir.is_absolute() else None
        self.discovery = Discoveries(tools.log, memory=memory, turn=lookups.turn)
        self.health = HealthChecks(self._tell_health, turn=probes.turn)
        self.overrides = Overrides()
        self._briefing = Briefing(tools, self.health, self.overrides)
        self.storage = Storage(self.lending, tools.reports.services.state_dir, tools.log, self._secret_value)
        tools.reports.services.secret = self._secret_value
        tools.reports.services.turn = openings.turn
        self._version = 0
        self._jobs = Jobs()

    # --- life -------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the supervisor until its link ends. ``start`` brings the first configuration in."""
        async with trio.open_nursery() as nursery:
            self.fleet.nursery = self.generations.nursery = nursery
            nursery.start_soon(self.supervisor.pulse)
            for pace in self._paces:
                nursery.start_soon(pace.run)
            nursery.start_soon(self.secrets.run)
            nursery.start_soon(self.leaves.keep, self.fleet.put)
            nursery.start_soon(self._jobs.run)
            nursery.start_soon(self.health.run)
            nursery.start_soon(self.discovery.run)
            nursery.start_soon(self.lending.run)
            nursery.start_soon(self.keys.run)
            nursery.start_soon(self.storage.run)
            nursery.start_soon(self._keep_tokens)
            nursery.start_soon(self._follow_discovery)
            nursery.start_soon(self.ages.run, self._aging, self._over)
            task_status.started()
            try:
                await self.supervisor.run()
            except ValueError as error:
                self.tools.log.error("supervisor_link", detail=str(error))
            nursery.cancel_scope.cancel()
        self._release_sockets()

    async def start(self, settings: Settings) -> None:
        """Bring in the first configuration, wait until every worker uses it, and tell systemd. SettingsError."""
        await self._install(settings)
        while not self.is_ready:
            changed = self.fleet.changed
            refused = next((link for link in self.fleet if link.refused == self._version), None)
            if refused is not None:
                self.notes = [f"{refused.title} cannot use the configuration: {refused.why}"]
                await self.supervisor.failed(self.notes[0])
                self.tools.log.error("snapshot_refused", worker=refused.index, detail=refused.why)
                return
            await changed.wait()
        listeners = [f"{name} {bound.address}" for name, bound in self.sockets.items()]
        self.tools.log.info("ready", version=self._version, source=settings.source, listeners=listeners)
        self._tell_secrets()
        await self.supervisor.notify(f"READY=1\nSTATUS=serving {settings.source}")

    async def _keep_tokens(self) -> None:
        """Ask issuers once a worker serves: what that loads would delay the start of those that need no token."""
        while not any(link.is_open and link.applied for link in self.fleet):
            await self.fleet.changed.wait()
        await self.tokens.run()

    async def leave(self, seconds: float) -> None:
        """Take what workers say last: return when all links have ended, after ``seconds`` at the latest.

        What vaults elsewhere have lent is given back then: no worker uses it any more.
        """
        await self.fleet.leave(seconds)
        await self.vaults.aclose()

    @property
    def links(self) -> dict[int, WorkerLink]:
        """Links to live workers by pid."""
        return self.fleet.links

    @property
    def is_draining(self) -> bool:
        """Whether what runs here is to end, and no configuration comes in."""
        return self.fleet.is_draining

    @property
    def is_drained(self) -> bool:
        """Whether no listener is open, by order."""
        return self.drained is not None

    @property
    def is_ready(self) -> bool:
        """Whether every worker that is wanted lives and has applied a snapshot."""
        if self.settings is None or self.is_draining or self.is_drained or len(self.fleet) < self.settings.workers:
            return False
        return all(link.is_open and link.applied for link in self.fleet)

    # --- reload -----------------------------------------------------------------------------------

    async def reload(self) -> Outcome:
        """Read the configuration again and bring it in; a caller who is cancelled does not stop it."""
        return await self._jobs.do(self._reload) or Outcome(False, self._version, [BUSY])

    async def drain(self, seconds: float) -> list[str]:
        """Close every listener and have what runs finish within ``seconds``; return what is wrong.

        The daemon goes on without listeners until a reload opens them again. Returns once no worker accepts.
        """
        outcome = await self._jobs.do(partial(self._drain, seconds))
        return outcome.problems if outcome is not None else [BUSY]

    def _tell_secrets(self) -> None:
        """Log what is wrong with secrets; ``status`` shows it for as long as it lasts."""
        for text in self.secrets.problems:
            self.tools.log.warning("secret_problem", detail=text)

    async def _reload(self) -> Outcome:
        former = self.settings
        if former is None:
            return Outcome(False, 0, ["proxyd is still starting; try again when it is ready"])
        if self.generations.is_retired:
            await self._revise(former)
        if self.is_draining:
            return Outcome(False, self._version, [self._why_draining])
        was_drained = self.is_drained
        await self.supervisor.notify("RELOADING=1")
        try:
            outcome = await self._replace(former)
            event = self.tools.log.info if outcome.ok else self.tools.log.error
            event("reloaded" if outcome.ok else "reload_failed", version=outcome.version, problems=outcome.problems)
            self._tell_secrets()
        finally:
            await self.supervisor.notify("READY=1")
        if outcome.ok:
            await self.supervisor.reloaded()
        if was_drained and not self.is_drained:
            await self.supervisor.notify(f"STATUS=serving {former.source}")
        return outcome

    async def _revise(self, former: Settings) -> None:
        """End what drains here and a reload of the generation that serves forbids, within ``drain_old``.

        A file that this version cannot use, or not yet read, allows nothing: it is the later version's.
        """
        own = self.snapshot.egress.own if self.snapshot else ()
        changed: list[SecretState] = []
        gone: list[str] = []
        try:
            settings = await self.tools.read()
            prepared = await self.secrets.prepare(settings.secrets, settings.vaults)
            self._configure(settings)
            self.leaves.commit()
            changed, gone = self.secrets.commit(prepared)
            changed = [state for state in changed if state.source.name not in withheld(settings)]
        except SettingsError as error:
            self.tools.log.warning("former_generation_ends", detail=str(error), seconds=former.drain_old)
            settings = replace(former, access=Access())
        self.settings = settings
        self._version = max(self._version + 1, int(time.time() * 1000))
        found = self.discovery.found(settings.discoveries)
        snapshot = compose(settings, {}, self._version, self.tools.instance, found)
        self.snapshot = replace(snapshot, egress=replace(settings.egress, own=own))
        for link in self.fleet:
            self._briefing.give(link, self.snapshot, {}, changed, self.leaves.ahead())
            for name in gone:
                link.put(withdrawn(name))

    async def _drain(self, seconds: float) -> Outcome:
        if self.settings is None or self.is_draining:
            return Outcome(False, self._version, ["proxyd is starting or shutting down"])
        try:
            await self._install(self.settings, drain=seconds)
        except SettingsError as error:
            return Outcome(False, self._version, error.problems)
        await settled(list(self.fleet), self._version, APPLY_SECONDS)
        self.tools.log.info("drained", version=self._version, seconds=seconds)
        await self.supervisor.notify("STATUS=drained: no connections are accepted")
        return Outcome(True, self._version)

    async def _replace(self, former: Settings) -> Outcome:
        drained = self.drained
        try:
            settings = await self.tools.read()
            await self._install(settings)
        except SettingsError as error:
            self.refusal = error.problems
            return Outcome(False, self._version, error.problems)
        late = await settled(list(self.fleet), self._version, APPLY_SECONDS)
        refused = [link for link in self.fleet if link.refused == self._version]
        if refused:
            problems = [f"{link.title} refuses it: {link.why}" for link in refused]
            return await self._return_to(former, drained, problems)
        self.refusal = []
        self.notes = [*unchangeable(former, settings)]
        problems = [f"{link.title} has not applied it within {APPLY_SECONDS:g} s" for link in late]
        return Outcome(not late, self._version, [*problems, *self.notes])

    async def _return_to(self, former: Settings, drained: float | None, problems: list[str]) -> Outcome:
        """Some worker cannot use the new configuration: bring the old one back to those that can."""
        try:
            await self._install(former, drain=drained)
            await settled(list(self.fleet), self._version, APPLY_SECONDS)
        except SettingsError as error:
            problems += [f"the former configuration cannot be brought back: {text}" for text in error.problems]
        self.refusal = problems
        return Outcome(False, self._version, problems)

    async def _install(self, settings: Settings, *, drain: float | None = None) -> None:
        """Bring ``settings`` in. SettingsError: nothing has changed.

        With ``drain`` seconds no listener is opened, and what runs has that long to finish.
        """
        prepared = await self.secrets.prepare(settings.secrets, settings.vaults)
        async with opened(self.tools.reports.sinks, settings) as sinks, self._undone_on_failure():
            self._configure(settings)
            await self.discovery.prime(settings.discoveries)
            used = settings if drain is None else replace(settings, listeners=(), drain_old=drain)
            listeners = [(listener.name, listener.address) for listener in used.listeners]
            try:
                sockets = await self.supervisor.bind(listeners, settings.workers, settings.drain_timeout)
            except BindFailed as error:
                raise SettingsError([str(error)]) from error
            if self.is_draining:  # the order to drain came right behind the sockets
                close_fds([socket.fd for socket in sockets.values()])
                raise SettingsError([self._why_draining])
        # From here on nothing fails and nothing waits.
        self.tools.reports.commit(settings, sinks)
        self.leaves.commit()
        self.lending.configure(settings.services)
        self.keys.configure(settings.services)
        self.endings.configure(settings.known, frozenset(service.name for service in settings.services))
        self.storage.configure(settings)
        self.tokens.configure(settings.tokens, settings.extra_roots_pem.decode("ascii", "replace"))
        former, self.sockets = self.sockets, sockets
        self.settings, self.drained = settings, drain
        changed, gone = self.secrets.commit(prepared)
        changed = self._told_of(changed)
        bound = {name: socket.address for name, socket in sockets.items()}
        self._version = max(self._version + 1, int(time.time() * 1000))  # rises across restarts of control too
        self.discovery.commit(settings.discoveries)
        found = self.discovery.found(settings.discoveries)
        self.snapshot = compose(used, bound, self._version, self.tools.instance, found)
        fresh = {name: socket for name, socket in sockets.items() if not socket.is_same(former.get(name))}
        leaves = self.leaves.ahead()
        for link in self.fleet:
            self._briefing.give(link, self.snapshot, fresh, changed, leaves)
            for name in gone:
                link.put(withdrawn(name))
        for socket in former.values():
            close_fds([socket.fd])
        self._hold_endpoints(settings, self.snapshot)
        self._look_at_ages()

    def _look_at_ages(self) -> None:
        for name in self.ages.look(self._aging()):
            self._over(name)

    def _hold_endpoints(self, settings: Settings, snapshot: Snapshot) -> None:
        """Have checks and overrides go by the endpoints of a snapshot."""
        self.health.configure(replace(settings, services=snapshot.services))
        if self.overrides.keep(snapshot.services):
            self.tell_overrides()

    async def _follow_discovery(self) -> None:
        """Bring lists of endpoints that have changed to the workers, between two changes of the configuration."""
        while True:
            await self.discovery.change()
            await self._jobs.do(self._use_found)

    async def _use_found(self) -> Outcome:
        """Send a snapshot in which nothing is new but the endpoints that were found."""
        settings, snapshot = self.settings, self.snapshot
        if settings is not None and snapshot is not None:
            services = with_found(settings.services, self.discovery.found(settings.discoveries))
            if services != snapshot.services:
                self._version = max(self._version + 1, int(time.time() * 1000))
                self.snapshot = replace(snapshot, version=self._version, services=services)
                self._hold_endpoints(settings, self.snapshot)
                self.tools.log.info("endpoints_changed", version=self._version)
                self.fleet.put(ApplySnapshot(self.snapshot))
        return Outcome(True, self._version)

    @contextlib.asynccontextmanager
    async def _undone_on_failure(self) -> AsyncIterator[None]:
        """Set the CA and discovery back when the listeners cannot be had."""
        former = self.settings
        try:
            yield
        except SettingsError:
            self.discovery.commit(former.discoveries if former is not None else ())
            if former is not None:
                self._configure(former)
            raise

    def _configure(self, settings: Settings) -> None:
        try:
            self.leaves.configure(intercepted_hosts(settings), intercepts_all(settings), settings.limits)
        except ValueError as error:
            raise SettingsError([f"{settings.source}: {error}"]) from error

    async def apply_secret(self, name: str, seconds: float) -> list[WorkerLink]:
        """Have workers use what the vault holds under ``name`` now; return those that have not within ``seconds``."""
        await self.secrets.refresh_vault()
        told = self._told_of(self.secrets)
        serials = {state.source.name: state.serial for state in told if name in ("", state.source.vault)}
        return await credentials_settled(list(self.fleet), serials, seconds)

    # --- workers ----------------------------------------------------------------------------------

    def _greet(self, link: WorkerLink) -> None:
        link.put(self.faults.message())  # none as well: a former control may have told it of some
        if self.snapshot is not None:  # else ``_install`` is about to send everything
            self._briefing.give(link, self.snapshot, self.sockets, self._told_of(self.secrets), self.leaves.ahead())
            for message in self.tokens.messages:
                link.put(message)

    def tell_overrides(self) -> list[str]:
        """Have workers hold what an operator wants held; return it in words."""
        self.fleet.put(self.overrides.message)
        held = [*self.overrides.problems()]
        self.tools.log.info("overrides", held=held)
        return held

    def _tell_health(self, message: SetHealth) -> None:
        self.fleet.put(message)
        state = "healthy" if message.is_healthy else "unhealthy"
        address = written(message.host, message.port)
        self.tools.log.warning(f"endpoint_{state}", service=message.service, endpoint=address)

    def _from_supervisor(self, message: Message, fds: list[int]) -> None:
        match message:
            case WorkerStarted(index, pid):
                self.fleet.started(index, pid, fds[0])
            case WorkerExited(index, pid, why):
                self.fleet.exited(index, pid, why)
            case Reopen():
                self.tools.reports.sinks.reopen()
            case Reload():
                self._jobs.post(self._reload)  # where there is no room, one that waits will read the same file
            case Drain():
                self._retire()
            case _:
                self.generations.handle(message, fds)

    def _retire(self) -> None:
        """Serve those workers alone that are there, until they are gone."""
        self.fleet.retire()
        self.tokens.is_retired = True
        self.faults.clear()  # nobody would see them: status is another generation's now
        self._release_sockets()  # as long as one process holds them the kernel takes connections

    @property
    def _why_draining(self) -> str:
        return (
            "another generation has taken over; call again"
            if self.generations.is_retired
            else "proxyd is shutting down"
        )

    def _secret_value(self, name: str) -> bytes | None:
        state = self.secrets.get(name)
        return self.ages.judged(state).value if state is not None else None

    def _login_secret(self, name: str) -> bytes | None:
        return self.secrets.login(name)

    def _log_vault(self, level: str, event: str, detail: str) -> None:
        self.tools.log.write(Level[level.upper()], event, {"detail": detail})

    def _secret_changed(self, state: SecretState) -> None:
        log_change(self.tools.log, state)
        for told in self._told_of([state]):
            self.fleet.put(credential(told))
        self.tokens.secret_changed(state.source.name)
        self._look_at_ages()

    def _publish(self, message: SetCredentials) -> None:
        self.fleet.put(message)

    def _told_of(self, states: Iterable[SecretState]) -> list[SecretState]:
        """Return the secrets that workers get: what flows of tokens alone need stays here."""
        kept = withheld(self.settings) if self.settings is not None else frozenset()
        return [self.ages.judged(state) for state in states if state.source.name not in kept]

    def _aging(self) -> Iterator[Subject]:
        """Return all whose age and end are followed."""
        logins = self.vaults.login_ends()
        for state in self.secrets:
            name = state.source.name
            if name.startswith(MATERIAL):
                continue  # each certificate for itself, below
            yield of_secret(state, logins.get(name, 0.0), self.ages.end_told(state))
        if self.settings is not None:
            yield from certificates.subjects(self, self.tools.authority, self.settings.ages)

    def _over(self, name: str) -> None:
        """A secret is over its age or its end: where that is denied, workers lose it and no token is made of it."""
        state = self.secrets.get(name)
        if state is not None and state.source.ages.deny:
            for told in self._told_of([state]):
                self.fleet.put(credential(told))

    async def _keep_secret(self, name: str, value: bytes) -> None:
        """Keep what an issuer has put in a secret's place. TokenError: it cannot be kept."""
        state, vault = self.secrets.get(name), self.tools.vault
        if state is None or not state.source.vault or vault is None:
            raise TokenError(
                f"the issuer replaced the secret {name}, which must be in the vault for that: proxyd secret set {name}",
                is_final=True,
            )
        try:
            await trio.to_thread.run_sync(vault.set, state.source.vault, value)
        except VaultError as error:
            raise TokenError(f"the secret {name} was replaced by the issuer and cannot be kept: {error}") from error
        await self.secrets.refresh_vault()

    def _release_sockets(self) -> None:
        close_fds([socket.fd for socket in self.sockets.values()])
        self.sockets = {}
