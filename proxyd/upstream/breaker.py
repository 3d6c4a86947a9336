"""The failure breaker: closed, open, half open (Nygard's circuit breaker).

It opens after failures in a row or by their rate over a window, lets nothing through for ``open_for`` seconds, then a
few probes at a time; ``probes`` successes in a row close it, one failure opens it again. Synchronous: who is admitted
must say how it ended, by ``success``, ``failure`` or, where it says nothing about the upstream, ``withdraw``.

What began before the last half-open time says nothing of now: a hundred calls that hang in an outage and fail long
after it neither use up the probes nor open the breaker again, and a late success is no proof of recovery.

An upstream that is overloaded refuses at once what it cannot queue, while what it queued is under way and will succeed.
Such refusals overtake successes, and are weighed as if those were there already. One that was open and closed again
narrows instead of opening for its rate of failures: it admits the share of calls that brings the failures down to
``error_rate``. All or nothing would keep an overloaded upstream idle most of the time.
"""

import enum
import math
from typing import Final

from proxyd.core.resilience import BreakerPolicy
from proxyd.upstream.chance import is_accident

SLICES: Final = 10
"""The window moves in tenths."""

STEP: Final = 0.1
"""Seconds between two looks at how much is admitted ..."""
GROWTH: Final = 0.1
"""... which grows by so much where the failures are below ``error_rate`` ..."""
STEEPEST: Final = 0.5
"""... and shrinks to this part of itself at most where they are not, ..."""
LEAST_SHARE: Final = 0.05
"""... but never below this."""


class State(enum.Enum):
    """What the breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Guards one service or endpoint."""

    __slots__ = (
        "_calls",
        "_counted",
        "_credit",
        "_failed",
        "_failures",
        "_in_a_row",
        "_look",
        "_narrows",
        "_opened",
        "_policy",
        "_probes",
        "_proven",
        "_since",
        "_slice",
        "_step_failures",
        "_step_successes",
        "_successes",
        "_watched",
        "forced",
        "share",
        "state",
    )

    def __init__(self, policy: BreakerPolicy, *, narrows: bool = True) -> None:
        """``narrows``: admit a share of the calls where that is enough; else it is open or closed."""
        self._policy = policy
        self._narrows = narrows
        self.state = State.CLOSED
        self.forced: State | None = None
        """Held open or closed by an operator."""
        self.share = 1.0
        """Of the calls that are admitted while it is closed."""
        self._watched = -math.inf
        """Until when it narrows rather than opens: a window's length of all calls with few enough failures."""
        self._look = 0.0
        """When ``share`` is looked at next."""
        self._credit = 0.0
        self._step_successes = self._step_failures = 0
        """Since the last look; without what is in ``_successes``."""
        self._in_a_row = 0
        self._calls = [0.0] * SLICES
        self._failures = [0] * SLICES
        self._counted = 0.0
        self._failed = 0
        """Sums of these two."""
        self._successes = 0
        """Not in ``_calls`` yet."""
        self._slice = 0
        self._opened = 0.0
        self._probes = 0
        """Admitted while half open, not ended yet."""
        self._proven = 0
        """Successes since it is half open."""
        self._since = -math.inf
        """When it was half open last: calls from before do not count."""

    def __repr__(self) -> str:
        share = "" if self.share == 1.0 else f" share={self.share:.2f}"
        return f"<Breaker {self.state.value}{share} in_a_row={self._in_a_row} probes={self._probes}>"

    def is_ready(self, now: float) -> bool:
        """Whether ``admit`` would let a call through; changes nothing."""
        if self.forced is not None:
            return self.forced is not State.OPEN
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN:
            return now - self._opened >= self._policy.open_for
        return self._probes < self._policy.probes and now >= self._since

    def admit(self, now: float) -> bool:
        """Let a call through, or not."""
        if self.forced is not None:
            return self.forced is not State.OPEN
        if self.state is State.CLOSED:
            return self._watched == -math.inf or self._admit_share(now)
        if self.state is State.OPEN:
            if now - self._opened < self._policy.open_for:
                return False
            self.state = State.HALF_OPEN
            self._probes = self._proven = 0
            self._since = now
        if self._probes >= self._policy.probes or now < self._since:
            return False
        self._probes += 1
        return True

    def success(self, began: float = math.inf, seconds: float = 0.0) -> None:
        """A call that was admitted at ``began`` went well: so common that failures bring the window up to date."""
        if began < self._since:
            return
        self._in_a_row = 0
        if self.state is State.CLOSED:
            self._successes += 1
        elif self.state is State.HALF_OPEN:
            self._probes = max(0, self._probes - 1)
            self._proven += 1
            if self._proven >= self._policy.probes:
                self._close(began + seconds)

    def failure(self, now: float, began: float = math.inf, overtaken: int = 0, *, is_everywhere: bool = False) -> None:
        """A call that was admitted at ``began`` failed.

        ``overtaken``: so many that began before it are under way and have good prospects. ``is_everywhere``: it would
        have failed elsewhere, too, so that it counts, but is no reason to go there.
        """
        if began < self._since:
            return
        self._in_a_row += 1
        if self.state is State.HALF_OPEN:
            self._open(now)
        elif self.state is State.CLOSED:
            self._count_failure(now)
            if is_everywhere:
                return
            if (not overtaken and self._is_run_telling()) or (
                self._watched == -math.inf and self._is_rate_exceeded(overtaken)
            ):
                self._open(now)

    def withdraw(self, began: float = math.inf) -> None:
        """A call that was admitted at ``began`` ended without a verdict."""
        if self.state is State.HALF_OPEN and began >= self._since:
            self._probes = max(0, self._probes - 1)

    def failure_share(self, more: int = 0) -> float:
        """Return the share of the failures among the calls of late, and after so many ``more`` failures."""
        calls = self._counted + self._successes + more
        return (self._failed + more) / calls if calls else 0.0

    def retry_after(self, now: float) -> float:
        """Return the seconds until a probe may pass."""
        if self.state is State.OPEN:
            return max(0.0, self._opened + self._policy.open_for - now)
        return 0.0

    def _is_run_telling(self) -> bool:
        """Whether the failures in a row are enough, and more than those before them explain."""
        run = self._in_a_row
        if run < self._policy.consecutive_failures:
            return False
        calls, failures = self._counted - run, self._failed - run
        return failures >= calls or not is_accident(run, calls, failures)

    def _is_rate_exceeded(self, overtaken: int) -> bool:
        policy = self._policy
        calls = self._counted + overtaken
        return 0 < policy.error_rate <= 1 and calls >= policy.volume and self._failed >= policy.error_rate * calls

    def _count_failure(self, now: float) -> None:
        """Count a failure, and the successes since the last one as if they were spread evenly over the time between."""
        number = int(now * SLICES / self._policy.window)
        gone = number - self._slice
        for past in range(max(1, gone - SLICES + 1), gone + 1):
            at = (self._slice + past) % SLICES
            self._failures[at] = 0
            self._calls[at] = self._successes / gone
        if not gone:
            self._calls[number % SLICES] += self._successes
        self._step_successes += self._successes
        self._successes = 0
        self._slice = number
        self._calls[number % SLICES] += 1
        self._failures[number % SLICES] += 1
        self._counted, self._failed = sum(self._calls), sum(self._failures)
        self._step_failures += 1

    def _open(self, now: float) -> None:
        self.state = State.OPEN
        self._opened = now
        self._probes = 0
        self.share = 1.0
        self._watched = -math.inf

    def _close(self, now: float) -> None:
        self.state = State.CLOSED
        self._forget()
        if self._narrows and now < math.inf:
            self._watch(now)

    def _watch(self, now: float) -> None:
        self._watched = now + self._policy.window
        self._begin_step(now)

    def _begin_step(self, now: float) -> None:
        self._look = now + STEP
        self._step_successes = -self._successes
        self._step_failures = 0

    def _admit_share(self, now: float) -> bool:
        if now >= self._look:
            self._set_share(now)
        if self.share == 1.0:
            return True
        self._credit += self.share
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def _set_share(self, now: float) -> None:
        """Admit more, or less, by what became of the last step's calls."""
        limit = self._policy.error_rate
        successes, failures = self._step_successes + self._successes, self._step_failures
        if limit < 1 and failures > limit * (successes + failures):
            wanted = successes / (successes + failures) / (1.0 - limit)
            self.share = max(LEAST_SHARE, self.share * max(STEEPEST, wanted))
            self._watch(now)
        elif self.share < 1.0:
            self.share = min(1.0, self.share + GROWTH * (1.0 + (now - self._look) / STEP))
            self._watch(now)
        elif now >= self._watched:
            self._watched = -math.inf
            self._forget()
        else:
            self._begin_step(now)

    def _forget(self) -> None:
        self._in_a_row = 0
        self._calls = [0.0] * SLICES
        self._successes = 0
        self._failures = [0] * SLICES
        self._counted, self._failed = 0.0, 0
