"""Outlier detection: an endpoint that fails more than its peers is taken out for a while (Envoy's semantics).

Unlike Envoy's, it never takes out the last available endpoint of a group, however small the group is, and none for
failures in a row that its peers show as well: to take one out when all are overloaded would only overload the others.
"""

import statistics
from collections.abc import Sequence
from typing import Final

from proxyd.core.resilience import OutlierPolicy
from proxyd.upstream.chance import is_accident
from proxyd.upstream.endpoints import EndpointState

GATEWAY: Final = frozenset({502, 503, 504})


class OutlierDetector:
    """Watches the endpoints of one service."""

    __slots__ = ("_looked", "_policy")

    def __init__(self, policy: OutlierPolicy, now: float) -> None:
        self._policy = policy
        self._looked = now

    def success(self, state: EndpointState) -> None:
        """Count an answer below 500."""
        state.calls += 1
        state.in_a_row = state.gateway_in_a_row = state.local_in_a_row = 0

    def failure(
        self,
        state: EndpointState,
        status: int,
        peers: Sequence[EndpointState],
        now: float,
        *,
        is_ahead: bool = False,
    ) -> None:
        """Count a failure (``status`` 0: none came), and take the endpoint out when it is one too many.

        ``is_ahead``: attempts that began before it are under way and will go well, so that a run of such says nothing.
        """
        policy = self._policy
        state.calls += 1
        state.failures += 1
        if state.ejected_until > now:
            return  # it was on its way when the endpoint was taken out: no reason to take it out again once it is back
        state.in_a_row += 1
        state.gateway_in_a_row = state.gateway_in_a_row + 1 if not status or status in GATEWAY else 0
        state.local_in_a_row = 0 if status else state.local_in_a_row + 1
        if is_ahead:
            return
        if (
            _reached(state.in_a_row, policy.consecutive_5xx)
            or _reached(state.gateway_in_a_row, policy.consecutive_gateway)
            or _reached(state.local_in_a_row, policy.consecutive_local)
        ) and not _fails_as_others(state, peers):
            self._eject(state, peers, now)

    def look(self, peers: Sequence[EndpointState], now: float) -> None:
        """Compare success rates, once per interval."""
        policy = self._policy
        if now - self._looked < policy.interval:
            return
        self._looked = now
        self._judge_rates(peers, now)
        for state in peers:
            judged = policy.failure_rate and state.calls >= policy.failure_volume
            if judged and state.failures >= policy.failure_rate * state.calls:
                self._eject(state, peers, now)
            if state.ejected_until <= now and state.ejections and not state.failures:
                state.ejections -= 1
            state.calls = state.failures = 0

    def _judge_rates(self, peers: Sequence[EndpointState], now: float) -> None:
        policy = self._policy
        rated = [state for state in peers if state.calls >= policy.rate_volume and state.ejected_until <= now]
        if not policy.deviations or len(rated) < policy.rate_hosts:
            return
        rates = [1.0 - state.failures / state.calls for state in rated]
        floor = statistics.fmean(rates) - policy.deviations * statistics.pstdev(rates)
        for state, rate in zip(rated, rates, strict=True):
            if rate < floor:
                self._eject(state, peers, now)

    def _eject(self, state: EndpointState, peers: Sequence[EndpointState], now: float) -> None:
        """Take ``state`` out, unless that is too much of its priority group, or the last of it that can be used."""
        policy = self._policy
        if state.ejected_until > now:
            return
        group = [one for one in peers if one.endpoint.priority == state.endpoint.priority]
        ejected = sum(1 for one in group if one.ejected_until > now)
        others = any(one is not state and one.is_available(now) for one in group)
        if not others or (ejected and (ejected + 1) / len(group) > policy.max_ejected):
            return
        state.ejections += 1
        seconds = min(policy.base_ejection * state.ejections, policy.max_ejection)
        state.ejected_until = state.added = now + seconds
        state.in_a_row = state.gateway_in_a_row = state.local_in_a_row = 0


def _fails_as_others(state: EndpointState, peers: Sequence[EndpointState]) -> bool:
    """Whether the others fail so often that such a run is to be expected of any: in a brownout nobody is an outlier."""
    calls = sum(one.calls for one in peers if one is not state)
    failures = sum(one.failures for one in peers if one is not state)
    return is_accident(state.in_a_row, calls, failures)


def _reached(count: int, bound: int) -> bool:
    return 0 < bound <= count
