"""What a worker knows of one endpoint: what runs there, how fast it answers, whether it may be used."""

import math
from typing import Final

from proxyd.core.service import Endpoint
from proxyd.upstream.breaker import Breaker

FIRST_GUESS: Final = 0.03
"""Seconds that an endpoint is thought to need before it has answered (Linkerd's default_rtt)."""
DECAY: Final = 10.0
"""Seconds in which an old estimate fades to 1/e."""
HEARD_LATELY: Final = 0.5
"""Seconds since the last success in which more are expected."""
PENALTY: Final = 5.0
"""Seconds that a failure counts as (Linkerd's load biaser)."""


class EndpointState:
    """One endpoint of a service in one worker; it outlives snapshots."""

    __slots__ = (
        "_estimate",
        "_stamp",
        "added",
        "breaker",
        "calls",
        "ejected_until",
        "ejections",
        "endpoint",
        "failures",
        "gateway_in_a_row",
        "heard",
        "held",
        "in_a_row",
        "is_healthy",
        "local_in_a_row",
        "pending",
        "took",
    )

    def __init__(self, endpoint: Endpoint, now: float, breaker: Breaker | None) -> None:
        self.endpoint = endpoint
        self.breaker = breaker
        self.added = now
        """When it came, or came back: slow start counts from there."""
        self.pending = 0
        """Attempts that wait for their response head."""
        self.is_healthy = True
        """By active checks."""
        self.held: bool | None = None
        """Up or down by an operator's word, whatever checks and ejections say."""
        self.ejected_until = 0.0
        self.ejections = 0
        """How often lately: the next ejection lasts that much longer."""
        self.in_a_row = self.gateway_in_a_row = self.local_in_a_row = 0
        """Failures without a success between them: 5xx and local, 502-504 and local, local alone."""
        self.calls = self.failures = 0
        """Within the current interval."""
        self.heard = -math.inf
        """When the last success began ..."""
        self.took = 0.0
        """... and how long it took."""
        self._estimate = FIRST_GUESS
        self._stamp = now

    def __repr__(self) -> str:
        return f"<EndpointState {self.endpoint.address} pending={self.pending} ejected_until={self.ejected_until:g}>"

    def is_available(self, now: float) -> bool:
        """Whether it may be picked."""
        if self.held is None:
            if not self.is_healthy or self.ejected_until > now:
                return False
        elif not self.held:
            return False
        return self.breaker is None or self.breaker.is_ready(now)

    def overtaken(self, began: float, now: float) -> int:
        """Return how many attempts with good prospects are under way that a failure which ``began`` then overtook.

        An overloaded upstream refuses at once and works on what it took: failures come before older successes.
        """
        if self.pending and now - began < self.took and now - self.heard - self.took < HEARD_LATELY:
            return self.pending
        return 0

    def observe(self, seconds: float, now: float) -> None:
        """Take a latency into the estimate: a peak at once, anything faster by and by (Finagle's peak EWMA)."""
        if seconds >= self._estimate:
            self._estimate = seconds
        else:
            old = math.exp((self._stamp - now) / DECAY)
            self._estimate = self._estimate * old + seconds * (1.0 - old)
        self._stamp = now

    def outlast(self, seconds: float, now: float) -> None:
        """Take in that an attempt was given up after so long: it would have taken longer, nobody knows how much.

        So the estimate never falls by it, and what is known of a slow endpoint counts anew: else one that loses every
        race would be taken for as fast as those who win.
        """
        self._estimate = max(self._estimate, seconds)
        self._stamp = now

    def load(self, now: float) -> float:
        """Return what one more request here would wait for: the estimate, times what is pending."""
        estimate = self._estimate
        if now - self._stamp > 1.0:  # nothing heard: the past fades towards the first guess
            old = math.exp((self._stamp - now) / DECAY)
            estimate = estimate * old + FIRST_GUESS * (1.0 - old)
        return estimate * (self.pending + 1)

    def weight(self, now: float, slow_start: float) -> float:
        """Return the weight, less in the first ``slow_start`` seconds."""
        age = now - self.added
        if slow_start and age < slow_start:
            return self.endpoint.weight * max(0.1, age / slow_start)
        return float(self.endpoint.weight)
