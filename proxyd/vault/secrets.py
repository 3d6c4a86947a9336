"""All secrets of one configuration: loaded together, kept current, the last good value held.

Files and the vault are looked at each second, commands run again when their time is over, vaults elsewhere are asked
when they say. A refresh that fails changes nothing but ``why``; a secret that could never be read has no value, and
whoever needs it is told why. One that was removed from a vault has none either: that was meant. Nor has one whose lease
is over.
"""

import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import trio

from proxyd.core.secret import Secret
from proxyd.core.settings import SecretSource, VaultSource
from proxyd.vault.errors import NoSuchSecret, VaultError
from proxyd.vault.forms import fault
from proxyd.vault.outside.vaults import Reading, Vaults, pause_after
from proxyd.vault.sources import SecretError, exposure, read, stamp
from proxyd.vault.state import SecretState, doubt_of, is_same, is_same_source
from proxyd.vault.store import Held

POLL_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 30.0
"""A command that failed is run again after this, or after its TTL where that is shorter."""


class Shelf(Protocol):
    """The vault as it is read here; both methods may block."""

    def get(self, name: str) -> Held:
        """Return what is held under a name. NoSuchSecret, VaultError."""
        ...

    def stamp(self) -> tuple[int, ...]:
        """Return what changes with every write."""
        ...


class Secrets:
    """The current secrets by name. ``on_change`` is called, synchronously, with each state that a refresh changed.

    A configuration is brought in by two steps, so that one that fails elsewhere leaves no trace: ``prepare`` reads,
    ``commit`` makes it current.
    """

    def __init__(
        self,
        on_change: Callable[[SecretState], None],
        shelf: Shelf | None = None,
        clock: Callable[[], float] = time.time,
        turn: Callable[[], Awaitable[None]] | None = None,
        vaults: Vaults | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """``turn`` is waited for before a command is run; None: nobody waits. ``vaults`` are those elsewhere."""
        self._turn = turn
        self._vaults = vaults
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._preparing: Mapping[str, SecretState] = {}
        self._on_change = on_change
        self._shelf = shelf
        self._clock = clock
        self._refreshing = trio.Lock()
        self._states: dict[str, SecretState] = {}
        self._serials = itertools.count(1)
        self._following: trio.CancelScope | None = None

    def __iter__(self) -> Iterator[SecretState]:
        return iter(self._states.values())

    def __repr__(self) -> str:
        return f"<Secrets {sorted(self._states)}>"

    def get(self, name: str) -> SecretState | None:
        """Return what is known of a secret."""
        return self._states.get(name)

    @property
    def problems(self) -> list[str]:
        """Sentences for an operator: what cannot be read, what is open to others."""
        return [text for state in self for text in (state.why, state.warning) if text]

    def login(self, name: str) -> bytes | None:
        """Return the value by which proxyd logs in to a vault: of the configuration that comes in, if one does."""
        state = self._preparing.get(name) or self._states.get(name)
        return state.value if state is not None else None

    async def prepare(
        self, sources: Iterable[SecretSource], vaults: Iterable[VaultSource] = ()
    ) -> dict[str, SecretState]:
        """Read all sources side by side; one that cannot be read does not stop the others.

        Vaults elsewhere come last: proxyd logs in to them by what the others give.
        """
        found: dict[str, SecretState] = {}

        async def one(source: SecretSource) -> None:
            found[source.name] = await self._attempt(source)

        ordered = tuple(sources)
        async with trio.open_nursery() as nursery:
            for source in ordered:
                if not source.vault and source.outside is None:
                    nursery.start_soon(one, source)
            found |= await self._attempt_vault([source for source in ordered if source.vault])
        if self._vaults is not None:
            self._vaults.prepare(vaults)
            self._preparing = found
            try:
                found |= await self._attempt_outside(self._vaults, ordered)
            finally:
                self._preparing = {}
        return {source.name: found[source.name] for source in ordered}

    def commit(self, prepared: Mapping[str, SecretState]) -> tuple[list[SecretState], list[str]]:
        """Make what was prepared current; return the states that changed and the names that are gone."""
        former, self._states = self._states, dict(prepared)
        if self._vaults is not None:
            self._vaults.commit()
        if self._following is not None:
            self._following.cancel()
        changed = [state for name, state in prepared.items() if not is_same(former.get(name), state)]
        return changed, [name for name in former if name not in prepared]

    async def run(self) -> None:
        """Keep the current secrets fresh until cancelled."""
        while True:
            with trio.CancelScope() as self._following:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow_files)
                    nursery.start_soon(self._follow_vault)
                    for state in self:
                        if state.source.command:
                            nursery.start_soon(self._follow_command, state.source)
                    if self._vaults is not None:
                        for group in self._vaults.groups(state.source for state in self):
                            nursery.start_soon(self._follow_outside, self._vaults, group)
                        await self._vaults.sweep()
                    await trio.sleep_forever()

    async def _follow_files(self) -> None:
        """Look for changes; a file that is written in place is read once it was the same for two looks."""
        files = [state.source for state in self if state.source.file]
        last: list[tuple[int, ...]] = [()] * len(files)
        while files:
            await trio.sleep(POLL_SECONDS)
            stamps = await trio.to_thread.run_sync(_stamps, files, abandon_on_cancel=True)
            for source, current, former in zip(files, stamps, last, strict=True):
                state = self._states.get(source.name)
                if state is not None and current != state.stamp:
                    is_written = current[:2] == state.stamp[:2] and current != former
                    if not current or not is_written:
                        await self._refresh(source)
            last = stamps

    async def refresh_vault(self) -> None:
        """Read again what comes from the vault."""
        async with self._refreshing:  # else what was read first could be noted last
            states = await self._attempt_vault([state.source for state in self if state.source.vault])
            for name, fresh in states.items():
                self._replace(name, fresh)

    async def _follow_vault(self) -> None:
        if self._shelf is None:
            return
        while held := [state for state in self if state.source.vault]:
            current = await trio.to_thread.run_sync(self._shelf.stamp, abandon_on_cancel=True)
            now = self._clock()
            if any(state.stamp != current or 0 < state.until <= now for state in held):
                await self.refresh_vault()
            await trio.sleep(POLL_SECONDS)

    async def _follow_command(self, source: SecretSource) -> None:
        while True:
            state = self._states.get(source.name)
            if state is None:
                return
            wait = min(source.ttl, RETRY_SECONDS) if state.why else source.ttl
            await trio.sleep_until(state.checked + wait)
            await self._refresh(source)

    async def _follow_outside(self, vaults: Vaults, group: tuple[SecretSource, ...]) -> None:
        while all(source.name in self._states for source in group):
            await trio.sleep_until(min(self._states[source.name].due for source in group))
            reading = await vaults.read(group)
            for source in group:
                self._replace(source.name, self._outside(source, reading))

    async def _attempt_outside(self, vaults: Vaults, sources: Sequence[SecretSource]) -> dict[str, SecretState]:
        """Read what vaults elsewhere hold, all groups side by side."""
        found: dict[str, SecretState] = {}

        async def one(group: tuple[SecretSource, ...]) -> None:
            reading = await vaults.read(group, prepared=True)
            found.update({source.name: self._outside(source, reading) for source in group})

        async with trio.open_nursery() as nursery:
            for group in vaults.groups(sources, prepared=True):
                nursery.start_soon(one, group)
        return found

    def _outside(self, source: SecretSource, reading: Reading) -> SecretState:
        """Return what is known after a question; a value that was had before serves until it ends."""
        now, found, known = trio.current_time(), reading.found[source.name], self._states.get(source.name)
        secret, why = found.secret, found.why
        if secret is not None and source.form is not None and (why := fault(source.name, secret.reveal(), source.form)):
            secret = None
        if secret is not None:
            fresh = SecretState(source, secret, "", 0, now, warning=doubt_of(source, secret), version=found.version,
                                created=found.created, expires=found.expires, due=now + reading.again)  # fmt: skip
            return self._numbered(fresh)
        failures = 1
        fresh = SecretState(source, None, why, 0, now)
        if known is not None and is_same_source(known.source, source):
            failures = known.failures + 1
            wall = self._clock()
            if not found.is_gone and (not known.expires or wall < known.expires):
                fresh = replace(known, source=source, why=why, checked=now)
        pause = pause_after(failures, reading.pause, self._rng.uniform(0.8, 1.2))
        if fresh.expires:
            pause = min(pause, max(0.1, fresh.expires - self._clock()))
        return self._numbered(replace(fresh, due=now + pause, failures=failures))

    async def _refresh(self, source: SecretSource) -> None:
        self._replace(source.name, await self._attempt(source))

    def _replace(self, name: str, fresh: SecretState) -> None:
        former = self._states.get(name)
        if former is None or former.source != fresh.source:
            return  # another configuration came meanwhile
        self._states[name] = fresh
        if not is_same(former, fresh):
            self._on_change(fresh)

    async def _attempt(self, source: SecretSource) -> SecretState:
        former = self._states.get(source.name)
        if source.command and self._turn is not None:
            await self._turn()
        (mark,) = await trio.to_thread.run_sync(_stamps, [source], abandon_on_cancel=True) if source.file else [()]
        try:
            value: bytes | None = await read(source)
            if source.file and (await trio.to_thread.run_sync(_stamps, [source], abandon_on_cancel=True))[0] != mark:
                raise SecretError(f"secret {source.name}: file {source.file} is being written; it is read again soon")
            why = fault(source.name, value, source.form) if value is not None and source.form is not None else ""
            value = None if why else value
        except SecretError as error:
            value, why = None, str(error)
        if value is None and former is not None and is_same_source(former.source, source):
            secret = former.secret
        else:
            secret = Secret(source.name, value) if value is not None else None
        warning = await trio.to_thread.run_sync(exposure, source, abandon_on_cancel=True) if source.file else ""
        warning = warning or doubt_of(source, secret)
        fresh = SecretState(source, secret, why, 0, trio.current_time(), mark, warning)
        return self._numbered(replace(fresh, created=self._made(fresh)))

    def _made(self, fresh: SecretState) -> float:
        """Return when a value was made: the file's own time, of a value that is kept the former one's."""
        known = self._states.get(fresh.source.name)
        if fresh.why:
            return known.created if known is not None and fresh.secret is not None else 0.0
        return fresh.stamp[3] / 1e9 if fresh.stamp else 0.0

    async def _attempt_vault(self, sources: Sequence[SecretSource]) -> dict[str, SecretState]:
        """Read all of these from the vault in one thread."""
        if not sources:
            return {}
        mark, found = await trio.to_thread.run_sync(self._held, sources, abandon_on_cancel=True)
        now = trio.current_time()
        states: dict[str, SecretState] = {}
        for source, held in zip(sources, found, strict=True):
            name = source.name
            if isinstance(held, Held) and source.form is not None and (why := fault(name, held.value, source.form)):
                known = self._states.get(name)
                secret = known.secret if known is not None and is_same_source(known.source, source) else None
                fresh = SecretState(source, secret, why, 0, now, mark)
            elif isinstance(held, Held):
                former = tuple(Secret(name, value) for value in held.former)
                secret = Secret(name, held.value)
                warning = doubt_of(source, secret)
                fresh = SecretState(source, secret, "", 0, now, mark, warning, former, held.until, created=held.created)
            else:
                known = self._states.get(name)
                secret = None
                why = str(held)
                if not isinstance(held, NoSuchSecret):
                    why = f"secret {name}: {held}"
                    if known is not None and is_same_source(known.source, source):
                        secret = known.secret
                fresh = SecretState(source, secret, why, 0, now, mark)
            states[name] = self._numbered(fresh)
        return states

    def _held(self, sources: Sequence[SecretSource]) -> tuple[tuple[int, ...], list[Held | VaultError]]:
        if self._shelf is None:
            return (), [VaultError("there is no vault here") for _ in sources]
        mark = self._shelf.stamp()
        found: list[Held | VaultError] = []
        for source in sources:
            try:
                found.append(self._shelf.get(source.vault))
            except VaultError as error:
                found.append(error)
        return mark, found

    def _numbered(self, fresh: SecretState) -> SecretState:
        former = self._states.get(fresh.source.name)
        unchanged = former is not None and is_same(former, fresh)
        return replace(fresh, serial=former.serial if former is not None and unchanged else next(self._serials))


def _stamps(sources: Sequence[SecretSource]) -> list[tuple[int, ...]]:
    return [stamp(source) for source in sources]
