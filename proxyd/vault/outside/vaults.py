"""The vaults elsewhere of one configuration: each is asked within a time, and none keeps the others waiting.

A configuration is brought in by ``prepare`` and ``commit``, as that of secrets: a vault whose settings have not changed
keeps its login and what it has lent.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import trio

from proxyd.core.secret import Secret
from proxyd.core.settings import SecretSource, VaultSource
from proxyd.vault.errors import VaultError
from proxyd.vault.outside.provider import Document, OutsideError, Provider
from proxyd.vault.sources import SecretError, checked

READ_SECONDS: Final = 10.0
"""One document, a login before it included."""
CLOSE_SECONDS: Final = 3.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between two questions while a vault does not serve."""

Open = Callable[[VaultSource], Provider]


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one secret."""

    secret: Secret | None
    why: str = ""
    is_gone: bool = False
    version: str = ""
    created: float = 0.0
    expires: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of one group of secrets."""

    found: Mapping[str, Found]
    """By the name of the secret."""
    again: float
    """Seconds until they are to be read again; 0: it failed."""
    pause: float = 0.0
    """Seconds that the vault wants to be left alone."""


class Vaults:
    """Asks vaults elsewhere."""

    def __init__(
        self,
        open_vault: Open,
        log: Callable[[str, str, str], None],
        turn: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``log(level, event, detail)``; ``turn`` is waited for before a question."""
        self._open = open_vault
        self._log = log
        self._turn = turn
        self._used: dict[str, tuple[VaultSource, Provider]] = {}
        self._prepared: dict[str, tuple[VaultSource, Provider]] = {}
        self._leaving: list[tuple[VaultSource, Provider]] = []

    def __repr__(self) -> str:
        return f"<Vaults {sorted(self._used)}>"

    def prepare(self, sources: Iterable[VaultSource]) -> None:
        """Make those ready that are new or have changed; what was prepared before and not used is let go."""
        used = {id(provider) for _, provider in self._used.values()}
        self._leaving += [each for each in self._prepared.values() if id(each[1]) not in used]
        self._prepared = {}
        for source in sources:
            former = self._used.get(source.name)
            is_same = former is not None and replace(former[0], line=0) == replace(source, line=0)
            self._prepared[source.name] = former if former is not None and is_same else (source, self._open(source))

    def commit(self) -> None:
        """Use what was prepared."""
        kept = {id(provider) for _, provider in self._prepared.values()}
        self._leaving += [each for each in self._used.values() if id(each[1]) not in kept]
        self._used = dict(self._prepared)

    def groups(self, sources: Iterable[SecretSource], *, prepared: bool = False) -> list[tuple[SecretSource, ...]]:
        """Return the secrets by what is read at once, from the vaults in use or from those that are prepared."""
        found: dict[object, list[SecretSource]] = {}
        for source in sources:
            if source.outside is not None:
                vault = self._vault(source, prepared)
                key = vault[1].group(source.outside) if vault is not None else source.outside
                found.setdefault(key, []).append(source)
        return [tuple(group) for group in found.values()]

    async def read(self, group: tuple[SecretSource, ...], *, prepared: bool = False) -> Reading:
        """Read the secrets of one group."""
        vault = self._vault(group[0], prepared)
        try:
            if vault is None:
                raise OutsideError("the configuration has no such vault")
            if self._turn is not None:
                await self._turn()
            document = await _document(vault[1], group[0])
        except VaultError as error:
            pause = error.pause if isinstance(error, OutsideError) else 0.0
            is_gone = isinstance(error, OutsideError) and error.is_gone
            failed = {source.name: Found(None, _sentence(source, str(error)), is_gone) for source in group}
            return Reading(failed, 0.0, pause)
        return Reading({source.name: _picked(source, document) for source in group}, document.again)

    def login_ends(self) -> dict[str, float]:
        """Return when the users' own tokens end, as Unix times by the names of their secrets."""
        ends = {source.login.secret: provider.login_ends for source, provider in self._used.values()}
        return {name: at for name, at in ends.items() if name and at}

    async def sweep(self) -> None:
        """Close vaults that are no longer used; cancelled, the rest waits for another time."""
        while self._leaving:
            await self._close(*self._leaving[0])
            del self._leaving[0]

    async def aclose(self) -> None:
        """Give back what was lent, by all of them side by side."""
        self._leaving += [*self._used.values(), *self._prepared.values()]
        self._used, self._prepared = {}, {}
        leaving, self._leaving = {id(each[1]): each for each in self._leaving}.values(), []
        async with trio.open_nursery() as nursery:
            for source, provider in leaving:
                nursery.start_soon(self._close, source, provider)

    async def _close(self, source: VaultSource, provider: Provider) -> None:
        try:
            with trio.fail_after(CLOSE_SECONDS):
                await provider.aclose()
        except VaultError as error:
            self._log("warning", "vault_not_closed", f"{source.name}: {error}; what it has lent ends by itself")
        except trio.TooSlowError:
            self._log("warning", "vault_not_closed", f"{source.name} has not answered within {CLOSE_SECONDS:g} s")

    def _vault(self, source: SecretSource, prepared: bool) -> tuple[VaultSource, Provider] | None:
        if source.outside is None:
            return None
        return (self._prepared if prepared else self._used).get(source.outside.vault)


def pause_after(failures: int, asked: float, spread: float) -> float:
    """Return how long to wait after so many failures; ``spread`` is a number about 1."""
    return spread * max(asked, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)))


async def _document(provider: Provider, source: SecretSource) -> Document:
    assert source.outside is not None
    try:
        with trio.fail_after(READ_SECONDS):
            return await provider.read(source.outside)
    except trio.TooSlowError:
        raise OutsideError(f"it has not answered within {READ_SECONDS:g} s") from None
    except VaultError:
        raise
    except Exception as error:
        raise OutsideError(f"it cannot be asked: {type(error).__name__}") from error


def _picked(source: SecretSource, document: Document) -> Found:
    assert source.outside is not None
    try:
        value = checked(source, document.value(source.outside.field))
    except OutsideError as error:
        return Found(None, _sentence(source, str(error)))
    except SecretError as error:
        return Found(None, str(error))
    return Found(Secret(source.name, value), "", False, document.version, document.created, document.expires)


def _sentence(source: SecretSource, why: str) -> str:
    assert source.outside is not None
    return f"secret {source.name}: vault {source.outside.vault}: {why}"
