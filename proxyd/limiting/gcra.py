"""The generic cell rate algorithm: a token bucket that is one number per key (ITU-T I.371).

The number is when the bucket would be full again. Keys are hashes: a million of them take about 120 MiB. What nobody
took from for as long as a bucket needs to fill is forgotten, by two generations of keys, without ever looking for it.
"""

import math
from typing import Final

SHORTEST: Final = 1.0
"""Seconds that a generation lasts at least."""

_EPSILON: Final = 1e-9


class Gcra:
    """Buckets of ``burst`` tokens that refill at ``rate`` a second."""

    __slots__ = ("_current", "_former", "_interval", "_span", "_turns", "burst", "most_keys", "rate")

    def __init__(self, rate: float, burst: int, most_keys: int = 1_000_000) -> None:
        self.rate = rate
        self.burst = burst
        self.most_keys = most_keys
        """Beyond so many the keys that were not taken from for longest are forgotten early."""
        self._interval = 1.0 / rate
        self._current: dict[int, float] = {}
        self._former: dict[int, float] = {}
        self._span = max(SHORTEST, burst * self._interval)
        self._turns = -math.inf
        """When the generations change next."""

    def __len__(self) -> int:
        return len(self._current) + len(self._former)

    def try_take(self, key: int, cost: int, now: float) -> float:
        """Take ``cost`` tokens and return 0, or take none and return the seconds until there are as many.

        Infinity: there never will be.
        """
        if now >= self._turns:
            self._turn(now)
        full_at = self._current.get(key)
        if full_at is None:
            full_at = self._former.pop(key, now)
            if len(self._current) * 2 >= self.most_keys:
                self._turn(now)
        full_at = max(full_at, now)
        later = full_at + cost * self._interval
        wait = later - now - self.burst * self._interval
        if wait > _EPSILON:
            self._current[key] = full_at
            return wait if cost <= self.burst else math.inf
        self._current[key] = later
        return 0.0

    def give_back(self, key: int, cost: int) -> None:
        """Undo a take."""
        full_at = self._current.get(key)
        if full_at is not None:
            self._current[key] = full_at - cost * self._interval

    def left(self, key: int, now: float) -> int:
        """Return the tokens that are there."""
        return int(self.burst - self.reset(key, now) * self.rate + _EPSILON)

    def reset(self, key: int, now: float) -> float:
        """Return the seconds until the bucket is full."""
        full_at = self._current.get(key)
        if full_at is None:
            full_at = self._former.get(key, now)
        return max(0.0, full_at - now)

    def _turn(self, now: float) -> None:
        is_gap = now >= self._turns + self._span
        self._former = {} if is_gap else self._current
        self._current = {}
        self._turns = now + self._span
