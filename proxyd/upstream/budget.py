"""The retry budget: retries may be a share of requests, so that they never make an outage worse (Linkerd, Finagle)."""

from typing import Final

SECONDS: Final = 10
"""Requests and retries count this long."""


class RetryBudget:
    """Over the last ten seconds, retries stay within ``ratio`` * requests + ``min_per_second`` * 10."""

    __slots__ = ("_ratio", "_requests", "_reserve", "_retries", "_second")

    def __init__(self, ratio: float, min_per_second: float) -> None:
        self._ratio = ratio
        self._reserve = min_per_second * SECONDS
        self._requests = [0] * SECONDS
        self._retries = [0] * SECONDS
        self._second = 0

    def __repr__(self) -> str:
        return f"<RetryBudget requests={sum(self._requests)} retries={sum(self._retries)}>"

    def request(self, now: float) -> None:
        """Count a first attempt."""
        second = int(now)
        if second != self._second:
            self._advance(second)
        self._requests[second % SECONDS] += 1

    def try_retry(self, now: float) -> bool:
        """Count a retry if the budget has room for it."""
        second = int(now)
        if second != self._second:
            self._advance(second)
        if sum(self._retries) + 1 > self._ratio * sum(self._requests) + self._reserve:
            return False
        self._retries[second % SECONDS] += 1
        return True

    def _advance(self, second: int) -> None:
        """Forget the seconds that are ten or more ago."""
        for gone in range(self._second + 1, min(second, self._second + SECONDS) + 1):
            self._requests[gone % SECONDS] = self._retries[gone % SECONDS] = 0
        self._second = second
