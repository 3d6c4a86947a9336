"""The retry budget: retries may be a share of requests, so that they never make an outage worse (Linkerd, Finagle)."""

from typing import Final

SECONDS: Final = 10
"""Requests count this long; retries one slice longer, so that no ten seconds, wherever they begin, hold too many."""

_SLICES: Final = SECONDS + 1


class RetryBudget:
    """Over the last ten seconds, retries stay within ``ratio`` * requests + ``min_per_second`` * 10."""

    __slots__ = ("_ratio", "_requests", "_reserve", "_retries", "_second")

    def __init__(self, ratio: float, min_per_second: float) -> None:
        self._ratio = ratio
        self._reserve = min_per_second * SECONDS
        self._requests = [0] * _SLICES
        self._retries = [0] * _SLICES
        self._second = 0

    def __repr__(self) -> str:
        return f"<RetryBudget requests={sum(self._requests)} retries={sum(self._retries)}>"

    def request(self, now: float) -> None:
        """Count a first attempt; one that began before others counts now."""
        second = int(now)
        if second > self._second:
            self._advance(second)
        self._requests[self._second % _SLICES] += 1

    def try_retry(self, now: float) -> bool:
        """Count a retry if the budget has room for it."""
        second = int(now)
        if second > self._second:
            self._advance(second)
        requests = sum(self._requests) - self._requests[(self._second + 1) % _SLICES]  # without the oldest slice
        if sum(self._retries) + 1 > self._ratio * requests + self._reserve:
            return False
        self._retries[self._second % _SLICES] += 1
        return True

    def _advance(self, second: int) -> None:
        """Forget the seconds that are more than ten ago."""
        for gone in range(self._second + 1, min(second, self._second + _SLICES) + 1):
            self._requests[gone % _SLICES] = self._retries[gone % _SLICES] = 0
        self._second = second
