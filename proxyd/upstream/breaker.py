"""The failure breaker: closed, open, half open (Nygard's circuit breaker).

It opens after failures in a row or by their rate over a window, lets nothing through for ``open_for`` seconds, then a
few probes at a time; ``probes`` successes in a row close it, one failure opens it again. Synchronous: who is admitted
must say how it ended, by ``success``, ``failure`` or, where it says nothing about the upstream, ``withdraw``.

What began before the last half-open time says nothing of now: a hundred calls that hang in an outage and fail long
after it neither use up the probes nor open the breaker again, and a late success is no proof of recovery.
"""

import enum
import math
from typing import Final

from proxyd.core.resilience import BreakerPolicy
from proxyd.upstream.chance import is_accident

SLICES: Final = 10
"""The window moves in tenths."""


class State(enum.Enum):
    """What the breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Guards one service or endpoint."""

    __slots__ = (
        "_calls",
        "_failures",
        "_in_a_row",
        "_opened",
        "_policy",
        "_probes",
        "_proven",
        "_since",
        "_slice",
        "_successes",
        "forced",
        "state",
    )

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self.state = State.CLOSED
        self.forced: State | None = None
        """Held open or closed by an operator."""
        self._in_a_row = 0
        self._calls = [0.0] * SLICES
        self._failures = [0] * SLICES
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
        return f"<Breaker {self.state.value} in_a_row={self._in_a_row} probes={self._probes}>"

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
            return True
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

    def success(self, began: float = math.inf) -> None:
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
                self._close()

    def failure(self, now: float, began: float = math.inf) -> None:
        """A call that was admitted at ``began`` failed."""
        if began < self._since:
            return
        self._in_a_row += 1
        if self.state is State.HALF_OPEN:
            self._open(now)
        elif self.state is State.CLOSED:
            self._count_failure(now)
            if self._is_run_telling() or self._is_rate_exceeded():
                self._open(now)

    def withdraw(self, began: float = math.inf) -> None:
        """A call that was admitted at ``began`` ended without a verdict."""
        if self.state is State.HALF_OPEN and began >= self._since:
            self._probes = max(0, self._probes - 1)

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
        calls, failures = sum(self._calls) - run, sum(self._failures) - run
        return failures >= calls or not is_accident(run, calls, failures)

    def _is_rate_exceeded(self) -> bool:
        policy = self._policy
        calls = sum(self._calls)
        return (
            0 < policy.error_rate <= 1 and calls >= policy.volume and (sum(self._failures) >= policy.error_rate * calls)
        )

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
        self._successes = 0
        self._slice = number
        self._calls[number % SLICES] += 1
        self._failures[number % SLICES] += 1

    def _open(self, now: float) -> None:
        self.state = State.OPEN
        self._opened = now
        self._probes = 0

    def _close(self) -> None:
        self.state = State.CLOSED
        self._in_a_row = 0
        self._calls = [0.0] * SLICES
        self._successes = 0
        self._failures = [0] * SLICES
