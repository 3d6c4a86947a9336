"""A store that ends with its process: for state that need not outlive it, and for tests of what stands on stores."""

import time
from collections.abc import Callable

from proxyd.store.protocol import Entry, Store, check

SWEEP_EVERY = 1024
"""Writes between two removals of what has vanished."""


class MemoryStore(Store):
    """Values in a dictionary."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[bytes, int, float | None]] = {}
        self._version = 0

    async def read(self, key: str) -> Entry:
        """Return what stands under ``key``."""
        check(key)
        now = self._clock()
        value, version, vanishes = self._kept.get(key, (b"", 0, None))
        if vanishes is not None and vanishes <= now:
            return Entry(b"", 0, now)
        return Entry(value, version, now)

    async def swap(self, key: str, version: int, value: bytes, lifetime: float | None) -> bool:
        """Write if the version is still ``version``."""
        check(key, value)
        now = self._clock()
        _, present, vanishes = self._kept.get(key, (b"", 0, None))
        if vanishes is not None and vanishes <= now:
            present = 0
        if present != version:
            return False
        self._version += 1
        self._kept[key] = (value, self._version, None if lifetime is None else now + lifetime)
        if self._version % SWEEP_EVERY == 0:
            over = [one for one, (_, _, end) in self._kept.items() if end is not None and end <= now]
            for one in over:
                del self._kept[one]
        return True

    async def remove(self, key: str) -> None:
        """Forget ``key``."""
        check(key)
        self._kept.pop(key, None)

    async def scan(self, prefix: str, limit: int) -> dict[str, bytes]:
        """Return what stands under keys with this prefix."""
        check(prefix)
        now = self._clock()
        found = (
            (key, value)
            for key, (value, _, end) in self._kept.items()
            if key.startswith(prefix) and (end is None or end > now)
        )
        return dict(sorted(found)[:limit])

    async def close(self) -> None:
        """Forget everything."""
        self._kept.clear()
