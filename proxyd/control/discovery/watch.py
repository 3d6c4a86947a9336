"""One service's endpoints under watch: what was found last, and what is wrong with finding more.

A failure never takes away what was found. Finders are coroutines that tell a ``Watch`` what they see and run until
cancelled.
"""

import random
import time
from collections.abc import Callable, Iterable
from typing import Final

import trio

from proxyd.control.pace import Turn, at_once
from proxyd.core.discovery import MAX_ENDPOINTS, Discovery
from proxyd.core.service import Endpoint
from proxyd.core.units import DAY, HOUR, MINUTE

FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 30.0
"""Seconds between attempts while finding fails; each wait is twice the former, less up to a fifth."""
MAX_PROBLEMS: Final = 10
PROBLEM_CHARACTERS: Final = 500


class DiscoveryError(Exception):
    """Endpoints could not be found; the text says why, for an operator."""


class Watch:
    """What a finder tells. ``changed`` is set, and replaced by its owner, whenever the list is another one."""

    def __init__(
        self,
        discovery: Discovery,
        changed: trio.Event,
        rng: random.Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.discovery = discovery
        self.changed = changed
        self.endpoints: tuple[Endpoint, ...] | None = None
        """None: nothing was found yet."""
        self.found_at = 0.0
        """Unix time at which they were found, or found again, last."""
        self.problems: tuple[str, ...] = ()
        self.told: Callable[[Watch], None] = _nobody
        """Called when ``problems`` are others than before."""
        self.heard = trio.Event()
        """Set by the first word, good or bad."""
        self.scope = trio.CancelScope()
        self.turn: Turn = at_once
        """To be waited for before each look."""
        self._rng = rng
        self._clock = clock
        self._failures = 0

    def __repr__(self) -> str:
        count = "none yet" if self.endpoints is None else len(self.endpoints)
        return f"<Watch {self.discovery.service}: {self.discovery.finder}, endpoints: {count}>"

    def found(self, endpoints: Iterable[Endpoint], problems: Iterable[str] = ()) -> None:
        """Use these endpoints from now on; one address counts once."""
        unique = {(endpoint.host, endpoint.port): endpoint for endpoint in endpoints}
        listed = tuple(unique.values())
        told = [*problems]
        if len(listed) > MAX_ENDPOINTS:
            told.append(f"{len(listed)} endpoints were found, of which the first {MAX_ENDPOINTS} are used")
            listed = listed[:MAX_ENDPOINTS]
        self._tell(told)
        if not told:
            self._failures = 0
        self.found_at = self._clock()
        if listed != self.endpoints:
            self.endpoints = listed
            self.changed.set()

    @property
    def age(self) -> float:
        """Return the seconds since the list was found last."""
        return max(0.0, self._clock() - self.found_at)

    def failed(self, *problems: str) -> None:
        """Keep what there is and say what is wrong."""
        self._tell(problems)

    def pause(self) -> float:
        """Return the seconds until the next attempt after another failure, jittered."""
        wait: float = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return wait * self._rng.uniform(0.8, 1.0)

    def spread(self, most: float) -> float:
        """Return a wait from 0 to ``most``, so that many watches do not fall into step."""
        return self._rng.uniform(0.0, most)

    def _tell(self, problems: Iterable[str]) -> None:
        former = self.problems
        self.problems = tuple(text[:PROBLEM_CHARACTERS] for text in [*problems][:MAX_PROBLEMS])
        self.heard.set()
        if self.problems != former:
            self.told(self)


def age_words(seconds: float) -> str:
    """Return an age as a person would say it."""
    for unit, length in (("days", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= 2 * length:
            return f"{seconds // length:g} {unit}"
    return f"{seconds:.0f} s"


def _nobody(watch: Watch) -> None:
    """Nobody wants to know."""
