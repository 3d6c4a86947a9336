"""The life of something that a vault lends, a login token or a dynamic secret: pure, without a clock of its own.

It is renewed after two thirds of what was granted, like Vault's own agent does it, each process at another moment. A
renewal that grants less than half of the first duration shows that the end (``max_ttl``) is near: another is asked for.
"""

import random
from dataclasses import dataclass
from typing import Final

RENEW: Final = (0.6, 0.68)
"""Share of the duration after which it is renewed; drawn anew each time."""

LONGEST: Final = 365 * 86_400.0
"""Seconds; what is granted for longer counts as this."""


@dataclass(slots=True)
class Lease:
    """Granted for ``duration`` seconds at a time; 0 is for ever."""

    duration: float
    is_renewable: bool
    expires: float = 0.0
    """0: never."""
    due: float = 0.0
    """When it is to be renewed or replaced; 0: never."""

    def granted(self, now: float, seconds: float, rng: random.Random, *, is_renewable: bool) -> bool:
        """Note what was granted, or renewed, by a question of ``now``; whether it is worth another renewal."""
        seconds = min(seconds, LONGEST)
        self.is_renewable = is_renewable
        if not self.duration:
            self.expires = self.due = 0.0
            return True
        self.expires = now + seconds
        self.due = now + seconds * rng.uniform(*RENEW)
        return seconds >= self.duration / 2

    def is_due(self, now: float) -> bool:
        """Whether it is to be renewed or replaced."""
        return bool(self.due) and now >= self.due

    def is_over(self, now: float) -> bool:
        """Whether it has ended."""
        return bool(self.expires) and now >= self.expires


def begun(now: float, seconds: float, rng: random.Random, *, is_renewable: bool) -> Lease:
    """Return the lease that a question of ``now`` has brought."""
    lease = Lease(min(seconds, LONGEST), is_renewable)
    lease.granted(now, seconds, rng, is_renewable=is_renewable)
    return lease
