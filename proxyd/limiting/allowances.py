"""Tokens by key, as a gate takes them: what this worker keeps alone. Leases (``ledger``) and estimates are others."""

from typing import Protocol

from proxyd.limiting.gcra import Gcra
from proxyd.limiting.ledger import UNKNOWN


class Allowance(Protocol):
    """Tokens by key."""

    def try_take(self, key: str, cost: int, now: float) -> float:
        """Take and return 0; else the seconds to wait (infinity: never), or UNKNOWN."""
        ...

    def give_back(self, key: str, cost: int) -> None:
        """Undo a take."""
        ...

    def expect(self, key: str, tokens: int) -> None:
        """So many are waited for."""
        ...

    def answered(self, key: str, cost: int, now: float) -> None:
        """What was taken has reached whom it is for, by now at the latest."""
        ...

    def left(self, key: str, now: float) -> int:
        """Return the tokens that are free."""
        ...

    def reset(self, key: str, now: float) -> float:
        """Return the seconds until all are."""
        ...


class LocalRate:
    """A rate that this worker alone keeps."""

    def __init__(self, rate: float, burst: int) -> None:
        self._buckets = Gcra(rate, burst)

    def try_take(self, key: str, cost: int, now: float) -> float:
        """Take and return 0, else the seconds to wait."""
        return self._buckets.try_take(hash(key), cost, now)

    def give_back(self, key: str, cost: int) -> None:
        """Undo a take."""
        self._buckets.give_back(hash(key), cost)

    def expect(self, key: str, tokens: int) -> None:
        """They come with time."""

    def answered(self, key: str, cost: int, now: float) -> None:
        """A rate counts what leaves."""

    def left(self, key: str, now: float) -> int:
        """Return the tokens that are free."""
        return self._buckets.left(hash(key), now)

    def reset(self, key: str, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return self._buckets.reset(hash(key), now)


class Slots:
    """So many at a time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: dict[str, int] = {}

    def try_take(self, key: str, cost: int, now: float) -> float:
        """Take and return 0, else UNKNOWN: whoever ends gives one back."""
        taken = self._taken.get(key, 0)
        if taken >= self._count:
            return UNKNOWN
        self._taken[key] = taken + 1
        return 0.0

    def give_back(self, key: str, cost: int) -> None:
        """One has ended."""
        taken = self._taken.get(key, 0) - 1
        if taken > 0:
            self._taken[key] = taken
        else:
            self._taken.pop(key, None)

    def expect(self, key: str, tokens: int) -> None:
        """They come as others end."""

    def answered(self, key: str, cost: int, now: float) -> None:
        """The place is held until the end."""

    def left(self, key: str, now: float) -> int:
        """Return the places that are free."""
        return self._count - self._taken.get(key, 0)

    def reset(self, key: str, now: float) -> float:
        """Nobody knows; a second is a fair guess."""
        return 1.0
