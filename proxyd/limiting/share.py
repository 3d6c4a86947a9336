"""What one member keeps to while nobody answers: its part of the limit, and of what was left at the last word."""

from proxyd.core.limiting import Limit
from proxyd.limiting.buckets import AGAIN, Rate, RateBucket, Spent, Window, WindowBucket

_ME = ""


class Share:
    """One key of a limit, kept alone."""

    __slots__ = ("_bucket",)

    def __init__(self, limit: Limit, parts: int, left: int, now: float) -> None:
        free = left // parts
        self._bucket: RateBucket | WindowBucket | None = None
        """None: a quota, of which nothing is spent that was not lent, or it could be exceeded."""
        if limit.rate:
            rule = Rate(limit.rate / parts, max(1, limit.burst // parts))
            self._bucket = RateBucket(rule, float(min(free, rule.burst)), now, {})
        elif limit.window:
            part = limit.window // parts
            spent = max(0, part - free)
            self._bucket = WindowBucket(Window(part, limit.window_seconds), [[now, spent]] if spent else [], {})

    def try_take(self, cost: int, now: float) -> float:
        """Take and return 0, else the seconds to wait."""
        bucket = self._bucket
        if bucket is None:
            return AGAIN
        grant = bucket.take(_ME, cost, now, 1.0)
        is_enough = grant.tokens == cost
        bucket.settle(_ME, [Spent(cost, 0.0)] if is_enough else [], 0, now, 1.0)
        return 0.0 if is_enough else max(AGAIN, grant.wait)
