"""What every store can do: read a value with its version, and put another in its place if nobody else has.

Everything shared is built on that (limits, quotas, leases, estimates): a pure function says how the value changes, and
``update`` applies it, again where another member was faster. Values are small; the data plane never waits for a store.
"""

import abc
import random
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import trio

from proxyd.core.units import KIB

MAX_KEY: Final = 512
"""Characters of a key."""

MAX_VALUE: Final = 256 * KIB
"""Bytes of a value."""

MAX_CONFLICTS: Final = 50
"""Times that ``update`` tries again."""

_LONGEST_PAUSE: Final = 0.05

_T = TypeVar("_T")


class StoreError(Exception):
    """The store did not do what it was asked; the message says why, without secrets."""


class Entry(NamedTuple):
    """What stands under a key."""

    value: bytes
    """Empty where nothing does."""
    version: int
    """For ``swap``; 0 where nothing does."""
    now: float
    """Unix seconds by the store's clock, which all members share."""


class Change(NamedTuple):
    """What a value becomes."""

    value: bytes | None
    """None: it stays as it is."""
    lifetime: float | None
    """Seconds after which it vanishes; None: never."""


class Store(abc.ABC):
    """One connection to a store; any number of tasks may use it."""

    @abc.abstractmethod
    async def read(self, key: str) -> Entry:
        """Return what stands under ``key``. StoreError."""

    @abc.abstractmethod
    async def swap(self, key: str, version: int, value: bytes, lifetime: float | None) -> bool:
        """Write ``value`` if the version is still ``version``, else return False; durable then. StoreError."""

    @abc.abstractmethod
    async def remove(self, key: str) -> None:
        """Forget ``key``. StoreError."""

    @abc.abstractmethod
    async def scan(self, prefix: str, limit: int) -> dict[str, bytes]:
        """Return what stands under keys that begin with ``prefix``, ``limit`` of them at most. StoreError."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Let go; idempotent."""


async def update(store: Store, key: str, change: Callable[[bytes, float], tuple[Change, _T]]) -> _T:
    """Change the value under ``key``: ``change`` gets value and time, and returns what it becomes, and an answer.

    ``change`` may be called several times and must do nothing else. StoreError, also when others were always faster.
    """
    for attempt in range(MAX_CONFLICTS):
        entry = await store.read(key)
        what, answer = change(entry.value, entry.now)
        if what.value is None or await store.swap(key, entry.version, what.value, what.lifetime):
            return answer
        await trio.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.001 * 2**attempt)))  # noqa: S311 - jitter
    raise StoreError(f"{key} was changed by others {MAX_CONFLICTS} times in a row")


def check(key: str, value: bytes = b"") -> None:
    """Refuse what no store takes. ValueError."""
    if not key or len(key) > MAX_KEY:
        raise ValueError(f"a key has 1 to {MAX_KEY} characters, not {len(key)}")
    if len(value) > MAX_VALUE:
        raise ValueError(f"a value has at most {MAX_VALUE} bytes, not {len(value)}")
