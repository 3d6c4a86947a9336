import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.resilience import Balance
from proxyd.core.service import Endpoint
from proxyd.upstream.balancer import Balancer
from proxyd.upstream.endpoints import EndpointState

NOW = 1000.0


def states(*places):
    return [EndpointState(Endpoint("10.0.0.1", 8000 + n, *place), 0.0, None) for n, place in enumerate(places)]


def made(policy, group, **changes):
    return Balancer(policy, group, rng=random.Random(7), **changes)


def shares(balancer, count=3000, now=NOW, **how):
    picked = Counter(balancer.pick(now, **how).endpoint.port for _ in range(count))
    return [picked[state.endpoint.port] / count for state in balancer.states]


def test_round_robin_goes_by_weight_and_never_in_bursts():
    balancer = made(Balance.ROUND_ROBIN, states((5,), (1,), (1,)))
    assert [balancer.pick(NOW).endpoint.port - 8000 for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


def test_random_goes_by_weight():
    assert shares(made(Balance.RANDOM, states((3,), (1,)))) == pytest.approx([0.75, 0.25], abs=0.04)


@pytest.mark.parametrize("policy", [Balance.LEAST_REQUEST, Balance.PEAK_EWMA])
def test_the_less_busy_of_two_is_picked(policy):
    group = states((), ())
    group[0].pending = 3
    assert shares(made(policy, group), 50) == [0.0, 1.0]


def test_a_slow_endpoint_gets_little_and_recovers_by_and_by():
    group = states((), ())
    group[0].observe(2.0, NOW)
    group[1].observe(0.01, NOW)
    balancer = made(Balance.PEAK_EWMA, group)
    assert shares(balancer, 100) == [0.0, 1.0]
    group[1].pending = 1
    assert shares(balancer, 100, now=NOW + 90.0)[0] > 0.5


def test_hashing_keeps_a_key_where_it_is_and_moves_only_those_of_an_endpoint_that_left():
    group = states((), (), ())
    balancer = made(Balance.HASH, group)
    keys = [b"caller-%d" % number for number in range(400)]
    before = {key: balancer.pick(NOW, key) for key in keys}
    assert min(Counter(before.values()).values()) > 60
    group[1].ejected_until = NOW + 1
    after = {key: balancer.pick(NOW, key) for key in keys}
    assert all(after[key] is before[key] for key in keys if before[key] is not group[1])
    assert group[1] not in after.values()


def test_what_was_tried_is_avoided_while_there_is_another():
    group = states((), ())
    balancer = made(Balance.RANDOM, group)
    assert shares(balancer, 50, tried=[group[0]]) == [0.0, 1.0]
    assert sum(shares(balancer, 50, tried=group)) == 1.0


def test_the_first_priority_gets_all_until_too_little_of_it_is_left():
    group = states((1, 0), (1, 0), (1, 0), (1, 1))
    balancer = made(Balance.RANDOM, group)
    assert shares(balancer)[3] == 0.0
    group[0].is_healthy = False
    assert shares(balancer)[3] == pytest.approx(1 - 1.4 * 2 / 3, abs=0.03)
    group[1].is_healthy = group[2].is_healthy = False
    assert shares(balancer)[3] == 1.0


def test_when_nothing_is_available_all_of_the_first_group_is_used():
    group = states((1, 0), (1, 0), (1, 1))
    for state in group:
        state.is_healthy = False
    balancer = made(Balance.RANDOM, group)
    assert shares(balancer, 300)[2] == 0.0
    assert balancer.is_panicking(NOW)


def test_a_large_group_panics_below_its_threshold_and_a_small_one_does_not():
    large, small = states(*[()] * 10), states((), (), ())
    for state in (*large[:6], *small[:2]):
        state.is_healthy = False
    assert min(shares(made(Balance.RANDOM, large))) > 0
    assert shares(made(Balance.RANDOM, small), 50) == [0.0, 0.0, 1.0]


def test_slow_start_gives_a_newcomer_little_at_first():
    group = states((), ())
    group[1].added = NOW
    balancer = made(Balance.RANDOM, group, slow_start=10.0)
    assert shares(balancer)[1] == pytest.approx(0.1 / 1.1, abs=0.03)
    assert shares(balancer, now=NOW + 5)[1] == pytest.approx(1 / 3, abs=0.04)


GROUPS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2), st.booleans(), st.booleans()), min_size=1, max_size=8)


@given(GROUPS, st.sampled_from(Balance), st.integers(0, 9), st.binary(max_size=8))
def test_some_endpoint_is_picked_and_an_unavailable_one_only_in_panic(places, policy, seed, key):
    group = states(*[(weight, priority) for weight, priority, _, _ in places])
    for state, (_, _, healthy, ejected) in zip(group, places, strict=True):
        state.is_healthy = healthy
        state.ejected_until = NOW + 1 if ejected else 0.0
    balancer = Balancer(policy, group, rng=random.Random(seed))
    picked = balancer.pick(NOW, key)
    assert picked in group
    assert picked.is_available(NOW) or balancer.is_panicking(NOW)


def test_another_try_goes_to_no_ejected_endpoint_of_another_priority():
    group = states((1, 0), (1, 1))
    group[1].ejected_until = NOW + 1
    assert shares(made(Balance.RANDOM, group), 50, tried=[group[0]]) == [1.0, 0.0]


def test_another_try_goes_to_another_priority_where_its_own_is_used_up():
    group = states((1, 0), (1, 1))
    assert shares(made(Balance.RANDOM, group), 50, tried=[group[0]]) == [0.0, 1.0]
