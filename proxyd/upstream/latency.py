"""Quantiles of a service's recent latencies: counts in logarithmic buckets, over the last half to whole minute."""

import math
from typing import Final

SMALLEST: Final = 0.0005
"""Seconds; everything below is one bucket."""
GROWTH: Final = 1.1
"""From one bucket to the next: a quantile is right to ten percent."""
BUCKETS: Final = 150
"""The last one begins at 0.0005 * 1.1^149 s, twelve minutes."""
WINDOW: Final = 30.0
"""Seconds; two windows count, the current and the one before."""
LEAST: Final = 50
"""Samples below which there is no answer."""

_STEP: Final = math.log(GROWTH)


class Latencies:
    """What a service took lately."""

    __slots__ = ("_before", "_began", "_now")

    def __init__(self, now: float) -> None:
        self._now = [0] * BUCKETS
        self._before = [0] * BUCKETS
        self._began = now

    def observe(self, seconds: float, now: float) -> None:
        """Count one latency."""
        if now - self._began >= WINDOW:
            self._turn(now)
        self._now[_bucket(seconds)] += 1

    def quantile(self, share: float, now: float) -> float | None:
        """Return the latency that ``share`` of the samples do not exceed, None where there are too few."""
        if now - self._began >= WINDOW:
            self._turn(now)
        counts = [one + other for one, other in zip(self._now, self._before, strict=True)]
        left = sum(counts)
        if left < LEAST:
            return None
        left -= math.floor(share * left)
        for bucket in range(BUCKETS - 1, -1, -1):
            left -= counts[bucket]
            if left < 0:
                return SMALLEST * GROWTH ** (bucket + 1)
        return SMALLEST

    def _turn(self, now: float) -> None:
        stale = now - self._began >= 2 * WINDOW
        self._before = [0] * BUCKETS if stale else self._now
        self._now = [0] * BUCKETS
        self._began = now


def _bucket(seconds: float) -> int:
    if seconds <= SMALLEST:
        return 0
    return min(BUCKETS - 1, int(math.log(seconds / SMALLEST) / _STEP))
