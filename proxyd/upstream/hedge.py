"""Hedging: when a second attempt is begun beside a slow one (Dean and Barroso, The Tail at Scale)."""

from proxyd.core.resilience import HedgePolicy
from proxyd.upstream.budget import RetryBudget
from proxyd.upstream.latency import Latencies


class Hedge:
    """One service's."""

    __slots__ = ("_budget", "_policy", "latencies")

    def __init__(self, policy: HedgePolicy, now: float) -> None:
        self._policy = policy
        self._budget = RetryBudget(policy.budget, 0.0)
        self.latencies = Latencies(now)

    def after(self, now: float) -> float | None:
        """Count a request; return the seconds that its first attempt has alone, None where nothing is known yet."""
        self._budget.request(now)
        if self._policy.seconds:
            return self._policy.seconds
        return self.latencies.quantile(self._policy.quantile, now)

    def try_spend(self, now: float) -> bool:
        """Take a hedge from the budget."""
        return self._budget.try_retry(now)
