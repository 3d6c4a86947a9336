"""The life of one source's token, without a clock, a task or a socket of its own.

It is renewed early, in the last fifth of its life, each process at another moment. While the issuer is away the token
that is there serves until it is over, and questions come ever more rarely. A refusal by the vendor counts once for each
token, and makes a question whatever the token's age.
"""

import random
from dataclasses import dataclass
from typing import Final

EARLY: Final = (0.75, 0.85)
"""Share of a life after which it is renewed; drawn anew each time."""

MARGIN: Final = 30.0
"""Seconds before its end at which a token is renewed at the latest, where it lives for more than twice as long."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
FINAL_PAUSE: Final = 300.0
"""Seconds between two questions where another try is of no use: somebody may have mended it."""

FORCED_EVERY: Final = 5.0
"""Seconds between two questions that refusals force."""


@dataclass(slots=True)
class Life:
    """What is known of one source's token."""

    expires: float = 0.0
    """When the present token is over; 0: there is none."""
    due: float = 0.0
    """When the issuer is to be asked next."""
    serial: int = 0
    """Of what workers have been told."""
    failures: int = 0
    problem: str = ""
    """Why the last question failed."""
    renewed: float = 0.0
    """When the present token came; 0: never."""
    forced: float = -FORCED_EVERY
    """When a refusal forced a question last."""

    def is_valid(self, now: float) -> bool:
        """Whether there is a token that is not over."""
        return self.expires > now

    def issued(self, now: float, life: float, rng: random.Random) -> None:
        """A token came, asked for at ``now``."""
        self.expires = now + life
        after = life * rng.uniform(*EARLY)
        if life > 2 * MARGIN:
            after = min(after, life - MARGIN)
        self.due = now + after
        self.renewed, self.failures, self.problem = now, 0, ""

    def failed(self, now: float, why: str, rng: random.Random, *, is_final: bool) -> None:
        """None came."""
        self.failures += 1
        self.problem = why
        pause = FINAL_PAUSE if is_final else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures - 1, 10))
        self.due = now + pause * rng.uniform(0.8, 1.2)

    def refused(self, serial: int, now: float) -> bool:
        """A vendor refused the token of ``serial``; whether the issuer is to be asked at once."""
        if serial != self.serial or now - self.forced < FORCED_EVERY:
            return False
        self.forced = self.due = now
        return True
