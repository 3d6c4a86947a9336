"""The values of credentials that a worker holds, and why one is missing."""

from collections.abc import Sequence
from typing import Final

import trio

from proxyd.core.exchange import Injector
from proxyd.core.service import SCOPE

MAX_SCOPES: Final = 1024
"""Tokens for scopes that are kept; the oldest goes first."""


class Secrets:
    """Values by name. ``serials`` tell a renewal's values from those before."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.former: dict[str, tuple[bytes, ...]] = {}
        """Values that callers may still prove themselves with."""
        self.problems: dict[str, str] = {}
        self.serials: dict[str, int] = {}
        self._masks: dict[Injector, tuple[bytes, ...]] = {}
        self._scopes: dict[str, None] = {}
        self._changed: trio.Event | None = None

    def set(self, name: str, value: bytes | None, why: str, former: Sequence[bytes] = (), serial: int = 0) -> None:
        """Use this value from the next attempt on, or say why there is none."""
        self._masks.clear()
        self.former[name] = tuple(former)
        self.serials[name] = serial
        if value is None:
            self.values.pop(name, None)
            self.problems[name] = why
        else:
            self.values[name] = value
            self.problems.pop(name, None)
        if SCOPE in name:
            self._bound(name)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def forget(self, name: str) -> None:
        """Nothing is known of a secret any more."""
        for known in (self.values, self.former, self.problems, self.serials, self._scopes):
            known.pop(name, None)

    async def change(self) -> None:
        """Return when some value has changed."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def masks(self, injector: Injector) -> tuple[bytes, ...]:
        """Return what would give the injector's secrets away, worked out once per change of a secret."""
        masks = self._masks.get(injector)
        if masks is None:
            masks = self._masks[injector] = injector.masks(self.values)
        return masks

    def forget_masks(self) -> None:
        """A new snapshot has new injectors."""
        self._masks.clear()

    def _bound(self, name: str) -> None:
        self._scopes.pop(name, None)
        self._scopes[name] = None
        if len(self._scopes) > MAX_SCOPES:
            self.forget(next(iter(self._scopes)))
