"""All secrets of one configuration: loaded together, kept current, the last good value held.

Files are looked at each second, commands run again when their time is over. A refresh that fails changes nothing but
``why``; a secret that could never be read has no value, and whoever needs it is told why.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from proxyd.core.secret import Secret
from proxyd.core.settings import SecretSource
from proxyd.vault.sources import SecretError, exposure, read, stamp

POLL_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 30.0
"""A command that failed is run again after this, or after its TTL where that is shorter."""


@dataclass(frozen=True, slots=True)
class SecretState:
    """What is known of one secret."""

    source: SecretSource
    secret: Secret | None
    """The last good value; None: there never was one."""
    why: str
    """Why the last attempt failed; empty: it did not."""
    serial: int
    """Rises with every change of any secret."""
    checked: float
    """trio's time of the last attempt."""
    stamp: tuple[int, ...] = ()
    """Of the file, taken before it was read."""
    warning: str = ""
    """What should be mended although the value could be had."""

    @property
    def value(self) -> bytes | None:
        """The bytes for the wire."""
        return self.secret.reveal() if self.secret is not None else None


class Secrets:
    """The current secrets by name. ``on_change`` is called, synchronously, with each state that a refresh changed.

    A configuration is brought in by two steps, so that one that fails elsewhere leaves no trace: ``prepare`` reads,
    ``commit`` makes it current.
    """

    def __init__(self, on_change: Callable[[SecretState], None]) -> None:
        self._on_change = on_change
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

    async def prepare(self, sources: Iterable[SecretSource]) -> dict[str, SecretState]:
        """Read all sources side by side; one that cannot be read does not stop the others."""
        found: dict[str, SecretState] = {}

        async def one(source: SecretSource) -> None:
            found[source.name] = await self._attempt(source)

        ordered = tuple(sources)
        async with trio.open_nursery() as nursery:
            for source in ordered:
                nursery.start_soon(one, source)
        return {source.name: found[source.name] for source in ordered}

    def commit(self, prepared: Mapping[str, SecretState]) -> tuple[list[SecretState], list[str]]:
        """Make what was prepared current; return the states that changed and the names that are gone."""
        former, self._states = self._states, dict(prepared)
        if self._following is not None:
            self._following.cancel()
        changed = [state for name, state in prepared.items() if not _same(former.get(name), state)]
        return changed, [name for name in former if name not in prepared]

    async def run(self) -> None:
        """Keep the current secrets fresh until cancelled."""
        while True:
            with trio.CancelScope() as self._following:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow_files)
                    for state in self:
                        if state.source.command:
                            nursery.start_soon(self._follow_command, state.source)
                    await trio.sleep_forever()

    async def _follow_files(self) -> None:
        files = [state.source for state in self if state.source.file]
        while files:
            await trio.sleep(POLL_SECONDS)
            stamps = await trio.to_thread.run_sync(_stamps, files, abandon_on_cancel=True)
            for source, current in zip(files, stamps, strict=True):
                state = self._states.get(source.name)
                if state is not None and current != state.stamp:
                    await self._refresh(source)

    async def _follow_command(self, source: SecretSource) -> None:
        while True:
            state = self._states.get(source.name)
            if state is None:
                return
            wait = min(source.ttl, RETRY_SECONDS) if state.why else source.ttl
            await trio.sleep_until(state.checked + wait)
            await self._refresh(source)

    async def _refresh(self, source: SecretSource) -> None:
        fresh = await self._attempt(source)
        former = self._states.get(source.name)
        if former is None or former.source != source:
            return  # another configuration came meanwhile
        self._states[source.name] = fresh
        if not _same(former, fresh):
            self._on_change(fresh)

    async def _attempt(self, source: SecretSource) -> SecretState:
        former = self._states.get(source.name)
        (mark,) = await trio.to_thread.run_sync(_stamps, [source], abandon_on_cancel=True) if source.file else [()]
        try:
            value: bytes | None = await read(source)
            why = ""
        except SecretError as error:
            value, why = None, str(error)
        if value is None and former is not None and replace(former.source, line=0) == replace(source, line=0):
            secret = former.secret
        else:
            secret = Secret(source.name, value) if value is not None else None
        warning = await trio.to_thread.run_sync(exposure, source, abandon_on_cancel=True) if source.file else ""
        fresh = SecretState(source, secret, why, 0, trio.current_time(), mark, warning)
        unchanged = former is not None and _same(former, fresh)
        return replace(fresh, serial=former.serial if former is not None and unchanged else next(self._serials))


def _stamps(sources: Sequence[SecretSource]) -> list[tuple[int, ...]]:
    return [stamp(source) for source in sources]


def _same(one: SecretState | None, other: SecretState) -> bool:
    return one is not None and one.secret == other.secret and one.why == other.why
