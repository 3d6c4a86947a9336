"""Which endpoint an attempt goes to. Synchronous, with an injected source of randomness.

Priority groups come first: the lowest number gets everything while enough of it is available, and what it cannot
carry overflows to the next (Envoy's priority load, overprovisioning factor 1.4). Within a group unavailable endpoints
are left out, unless none is left, or in a group of four and more fewer than ``panic`` of it: then all of it is used,
since whoever is left would only drown. Endpoints that this exchange has tried are avoided while there are others.
"""

import random
from collections.abc import Sequence
from itertools import chain
from typing import Final

from proxyd.core.resilience import Balance
from proxyd.upstream.endpoints import EndpointState
from proxyd.upstream.maglev import point, table

OVERPROVISIONING: Final = 1.4
"""A group carries all traffic until less than 1/1.4 of it, 71 %, is available."""

SMALL_GROUP: Final = 4
"""Below this many endpoints a share says little."""


class Balancer:
    """Picks endpoints of one service."""

    def __init__(
        self,
        policy: Balance,
        states: Sequence[EndpointState],
        *,
        slow_start: float = 0.0,
        panic: float = 0.5,
        rng: random.Random | None = None,
    ) -> None:
        self.states = states
        self._slow_start = slow_start
        self._panic = panic
        self._rng = rng or random.Random()  # noqa: S311 - balance, not secrecy
        self._groups = [
            [state for state in states if state.endpoint.priority == priority]
            for priority in sorted({state.endpoint.priority for state in states})
        ]
        self._credit: dict[int, float] = {}
        """Smooth weighted round robin: what each endpoint is owed."""
        self._table: Sequence[int] = ()
        """Whose each place of the key space is, as an index into ``states``."""
        self._pick = {
            Balance.PEAK_EWMA: self._peak_ewma,
            Balance.LEAST_REQUEST: self._least_request,
            Balance.ROUND_ROBIN: self._round_robin,
            Balance.RANDOM: self._random,
            Balance.HASH: self._hash,
        }[policy]
        if policy is Balance.HASH and states:
            self._table = table(tuple((state.endpoint.address, state.endpoint.weight) for state in states))

    def pick(self, now: float, key: bytes = b"", tried: Sequence[EndpointState] = ()) -> EndpointState:
        """Return the endpoint for the next attempt; ``key`` is what consistent hashing goes by."""
        usable = self._usable(now, tried)
        if len(usable) == 1:
            return usable[0]
        return self._pick(usable, now, key)

    def is_panicking(self, now: float) -> bool:
        """Whether some group is used although most of it is unavailable."""
        return any(_panics(group, _available(group, now), self._panic) for group in self._groups)

    def _usable(self, now: float, tried: Sequence[EndpointState]) -> Sequence[EndpointState]:
        """Return those among which the policy picks: never none."""
        groups = self._groups
        chosen = groups[0] if len(groups) == 1 else self._group(now)
        available = self._candidates(chosen, now)
        if not tried:
            return available
        fresh = [state for state in available if state not in tried]
        if fresh:
            return fresh
        for group in groups:  # what is unavailable there is no better than what was tried
            fresh = [state for state in _available(group, now) if state not in tried]
            if fresh:
                return fresh
        return available

    def _candidates(self, group: Sequence[EndpointState], now: float) -> Sequence[EndpointState]:
        available = _available(group, now)
        return group if _panics(group, available, self._panic) else available

    def _group(self, now: float) -> Sequence[EndpointState]:
        """Draw a priority group: each carries what it can of what the groups before it could not."""
        loads: list[float] = []
        left = 1.0
        for group in self._groups:
            load = min(left, OVERPROVISIONING * len(_available(group, now)) / len(group))
            loads.append(load)
            left -= load
        drawn = self._rng.random() * sum(loads)
        for group, load in zip(self._groups, loads, strict=True):
            if load and drawn < load:
                return group
            drawn -= load
        return self._groups[0]

    # --- the policies -----------------------------------------------------------------------------

    def _two(self, usable: Sequence[EndpointState], now: float) -> tuple[EndpointState, EndpointState]:
        """Draw two different ones by weight (the power of two choices)."""
        first = self._random(usable, now, b"")
        second = self._random([state for state in usable if state is not first], now, b"")
        return first, second

    def _peak_ewma(self, usable: Sequence[EndpointState], now: float, key: bytes) -> EndpointState:
        one, other = self._two(usable, now)
        return one if one.load(now) <= other.load(now) else other

    def _least_request(self, usable: Sequence[EndpointState], now: float, key: bytes) -> EndpointState:
        one, other = self._two(usable, now)
        slow = self._slow_start
        return one if one.pending / one.weight(now, slow) <= other.pending / other.weight(now, slow) else other

    def _random(self, usable: Sequence[EndpointState], now: float, key: bytes) -> EndpointState:
        weights = [state.weight(now, self._slow_start) for state in usable]
        left = self._rng.random() * sum(weights)
        for state, weight in zip(usable, weights, strict=True):
            left -= weight
            if left < 0:
                return state
        return usable[-1]

    def _round_robin(self, usable: Sequence[EndpointState], now: float, key: bytes) -> EndpointState:
        """Nginx's smooth weighted round robin: everyone earns its weight, the richest pays for all."""
        credit = self._credit
        total = 0.0
        best = usable[0]
        for state in usable:
            weight = state.weight(now, self._slow_start)
            total += weight
            credit[id(state)] = credit.get(id(state), 0.0) + weight
            if credit[id(state)] > credit[id(best)]:
                best = state
        credit[id(best)] -= total
        return best

    def _hash(self, usable: Sequence[EndpointState], now: float, key: bytes) -> EndpointState:
        """Walk from the key's place to one of a usable endpoint: the others' keys stay where they are."""
        owners, states = self._table, self.states
        start = point(key) % len(owners)
        for place in chain(range(start, len(owners)), range(start)):
            state = states[owners[place]]
            if state in usable:
                return state
        return usable[0]


def _available(group: Sequence[EndpointState], now: float) -> Sequence[EndpointState]:
    return [state for state in group if state.is_available(now)]


def _panics(group: Sequence[EndpointState], available: Sequence[EndpointState], threshold: float) -> bool:
    """Whether so few are available that all are used. In a small group a single one that is left still carries on."""
    return not available or (len(group) >= SMALL_GROUP and len(available) < threshold * len(group))
