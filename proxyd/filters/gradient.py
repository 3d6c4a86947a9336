"""The gradient controller: how many requests one worker may have under way at a service, found by its latency.

Envoy's: ``limit = gradient * limit + sqrt(gradient * limit)``, where the gradient is the latency of an unloaded service
plus a buffer over that of late. The unloaded latency (``min_rtt``) is measured with few requests under way, again and
again: without that, queues that the limit allows would become its measure, and it would drift upwards. A measurement
refuses most requests, so it is bounded in time, it is not made where calm traffic has shown the same, and workers make
theirs at the same time, by the machine's clock: otherwise each would measure the queues of the others.

Unlike Envoy's it does not raise the limit while half of it is not used. Synchronous; times are seconds.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Final

from proxyd.core.resilience import AdaptiveConcurrency

STEEPEST: Final = (0.5, 2.0)
"""Bounds of the gradient (Envoy's)."""
PINNED: Final = 5
"""Updates in a row at the lowest limit, all of it used, after which the latency is measured anew (Envoy's)."""
LEAST_SAMPLES: Final = 10
"""Of an update; where there are fewer it waits for them."""
MOST_SAMPLES: Final = 1000
"""Of an update: the first ones are enough."""
LONGEST_SHARE: Final = 0.05
"""Share of ``min_rtt_interval`` after which a measurement makes do with what it has."""


class Gradient:
    """One service in one worker; it outlives snapshots."""

    __slots__ = (
        "_begun",
        "_calm",
        "_ends",
        "_name",
        "_next",
        "_peak",
        "_pinned",
        "_samples",
        "_skew",
        "_until",
        "is_measuring",
        "limit",
        "min_rtt",
        "policy",
        "under_way",
    )

    def __init__(self, policy: AdaptiveConcurrency, name: str, now: float, skew: float = 0.0) -> None:
        """``skew`` is what to add to ``now`` for a clock that all workers share."""
        self.policy = policy
        self.limit = float(policy.min_limit)
        """Requests that may be under way; fewer while ``is_measuring``."""
        self.min_rtt = 0.0
        """Seconds that an unloaded service takes; 0: nothing is known yet."""
        self.under_way = 0
        self.is_measuring = False
        self._name = name
        self._skew = skew
        self._samples: list[float] = []
        self._calm: list[float] = []
        """Latencies of requests that met few others, since ``min_rtt`` is known."""
        self._peak = 0
        """The most that were under way since the last update."""
        self._pinned = 0
        self._until = 0.0
        """When the limit is updated next."""
        self._begun = self._ends = self._next = now
        self._measure(now)

    def __repr__(self) -> str:
        phase = " measuring" if self.is_measuring else ""
        return f"<Gradient limit={self.limit:.1f} under_way={self.under_way} min_rtt={self.min_rtt:.4f}{phase}>"

    @property
    def bound(self) -> float:
        """What holds now."""
        return float(self.policy.min_limit) if self.is_measuring else self.limit

    def admit(self, now: float) -> bool:
        """Let a request through until ``release``, or not."""
        if self.is_measuring:
            if now >= self._ends and len(self._samples) >= LEAST_SAMPLES:
                self._conclude(self._samples, now)
        elif now >= self._next:
            self._measure(now)
        if self.under_way >= (self.policy.min_limit if self.is_measuring else int(self.limit)):
            self._peak = self.under_way
            return False
        self.under_way += 1
        self._peak = max(self._peak, self.under_way)
        return True

    def release(self) -> None:
        """A request that was admitted is over."""
        self.under_way -= 1

    def observe(self, began: float, now: float, *, is_calm: bool = False) -> None:
        """The answer to a request that was admitted at ``began`` came; ``is_calm``: it met hardly any other."""
        seconds = now - began
        if self.is_measuring:
            if began >= self._begun:
                self._samples.append(seconds)
                if len(self._samples) >= self.policy.min_rtt_requests:
                    self._conclude(self._samples, now)
            return
        if is_calm:
            self._calm.append(seconds)
            if len(self._calm) >= self.policy.min_rtt_requests:
                self._learn(self._calm, now)
        if len(self._samples) < MOST_SAMPLES:
            self._samples.append(seconds)
        if now >= self._until and len(self._samples) >= LEAST_SAMPLES:
            self._update(now)

    # --- the unloaded latency ---------------------------------------------------------------------

    def _measure(self, now: float) -> None:
        self.is_measuring = True
        self._begun = now
        self._ends = now + LONGEST_SHARE * self.policy.min_rtt_interval
        self._samples = []

    def _conclude(self, samples: Sequence[float], now: float) -> None:
        self.is_measuring = False
        self._learn(samples, now)
        self._begin(now)
        self._pinned = 0

    def _learn(self, samples: Sequence[float], now: float) -> None:
        self.min_rtt = max(1e-6, _percentile(samples, self.policy.percentile))
        self._calm = []
        self._next = self._next_measurement(now)

    def _next_measurement(self, now: float) -> float:
        """Return a time half an interval from now or later: the same in all workers, another one in each interval."""
        interval = self.policy.min_rtt_interval
        number = math.floor((now + self._skew) / interval + 0.5) + 1
        digest = hashlib.blake2b(f"{self._name}/{number}".encode(), digest_size=4).digest()
        late = int.from_bytes(digest, "big") / 2**32 * self.policy.jitter
        return (number + late) * interval - self._skew

    # --- the limit --------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        self._until = now + self.policy.update_interval
        self._samples = []
        self._peak = self.under_way

    def _update(self, now: float) -> None:
        policy = self.policy
        latency = max(1e-6, _percentile(self._samples, policy.percentile))
        low, high = STEEPEST
        gradient = max(low, min(high, self.min_rtt * (1.0 + policy.buffer) / latency))
        wanted = gradient * self.limit
        wanted += math.sqrt(wanted)
        if wanted <= self.limit or self._peak * 2 >= self.limit:
            self.limit = max(float(policy.min_limit), min(float(policy.max_limit), wanted))
        is_pinned = self.limit <= policy.min_limit <= self._peak
        self._pinned = self._pinned + 1 if is_pinned else 0
        self._begin(now)
        if self._pinned >= PINNED:
            self._measure(now)


def _percentile(samples: Sequence[float], share: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
