import pytest

from proxyd.core.resilience import AdaptiveConcurrency
from proxyd.filters.gradient import Gradient

POLICY = AdaptiveConcurrency(min_rtt_requests=10, jitter=0.0)


def measured(seconds=0.1, policy=POLICY, now=0.0, skew=0.0):
    """Return a controller that has found out that the service takes so long, and the time."""
    gradient = Gradient(policy, "api", now, skew)
    while gradient.is_measuring:
        assert gradient.admit(now)
        gradient.observe(now, now + seconds)
        gradient.release()
        now += seconds
    return gradient, now


def run(gradient, now, seconds, capacity, base=0.1, demand=1000):
    """Ask for ``demand`` at a time of a service that takes ``capacity`` without a queue; return limits and the time."""
    limits = []
    ends = now + seconds
    while now < ends:
        admitted = 0
        while admitted < demand and gradient.admit(now):
            admitted += 1
        took = base * max(1.0, admitted / capacity)
        for _ in range(admitted):
            gradient.observe(now, now + took)
            gradient.release()
        now += took
        limits.append(gradient.limit)
    return limits, now


def test_few_are_admitted_until_the_unloaded_latency_is_known():
    gradient = Gradient(POLICY, "api", 0.0)
    assert [gradient.admit(0.0) for _ in range(4)] == [True, True, True, False]
    assert gradient.bound == 3


def test_the_unloaded_latency_is_a_percentile_of_requests_that_began_since():
    gradient, _ = measured(0.2)
    assert gradient.min_rtt == pytest.approx(0.2)
    gradient._measure(10.0)
    gradient.observe(9.9, 30.0)
    assert gradient.is_measuring
    assert gradient.min_rtt == pytest.approx(0.2)


@pytest.mark.parametrize("capacity", [10, 50, 200])
def test_the_limit_settles_near_what_the_service_carries_without_a_queue(capacity):
    gradient, now = measured()
    limits, _ = run(gradient, now, 50.0, capacity)
    assert capacity <= sum(limits[-20:]) / 20 <= 2 * capacity


def test_it_does_not_drift_however_long_it_is_asked_for_more():
    gradient, now = measured()
    limits, _ = run(gradient, now, 3600.0, 20)
    assert max(limits[100:]) < 40


def test_without_measuring_anew_a_service_that_became_slower_for_good_would_be_held_down():
    gradient, now = measured()
    run(gradient, now, 10.0, 20)
    limits, now = run(gradient, now + 10.0, 200.0, 20, base=0.5)
    assert gradient.min_rtt == pytest.approx(0.5, rel=0.01)
    assert limits[-1] >= 20


def test_a_limit_that_stays_at_its_lowest_is_reason_to_measure_at_once():
    gradient, now = measured(0.01)
    _, now = run(gradient, now, 20.0, 20, base=0.2)
    assert gradient.min_rtt == pytest.approx(0.2, rel=0.01)
    assert now < POLICY.min_rtt_interval


def test_it_does_not_grow_while_nobody_asks_for_half_of_it():
    gradient, now = measured()
    limits, _ = run(gradient, now, 50.0, 100, demand=8)
    assert max(limits) < 30


def test_it_stays_within_its_bounds():
    gradient, now = measured(policy=AdaptiveConcurrency(min_rtt_requests=10, min_limit=2, max_limit=30))
    limits, now = run(gradient, now, 50.0, 1000)
    assert max(limits) == 30
    limits, _ = run(gradient, now, 5.0, 0.01)
    assert min(limits) >= 2


def test_all_workers_measure_at_the_same_time_by_the_clock_that_they_share():
    policy = AdaptiveConcurrency(min_rtt_requests=10)
    one, _ = measured(policy=policy, now=1000.0, skew=0.0)
    other, _ = measured(policy=policy, now=77.0, skew=923.0)
    assert one._next == pytest.approx(other._next + 923.0)
    assert one._next % 60.0 <= 60.0 * policy.jitter
    different = Gradient(policy, "other", 1000.0)
    assert different._next_measurement(1001.0) != pytest.approx(one._next)


def test_calm_traffic_spares_the_measurement():
    gradient, now = measured(policy=AdaptiveConcurrency(min_rtt_requests=10))
    for _ in range(100):
        now += 2.0
        assert gradient.admit(now)
        gradient.observe(now, now + 0.3, is_calm=True)
        gradient.release()
        assert not gradient.is_measuring
    assert gradient.min_rtt == pytest.approx(0.3)


def test_a_measurement_makes_do_with_few_requests_when_its_time_is_over():
    gradient, now = measured()
    gradient._measure(now)
    for _ in range(12):
        gradient.admit(now)
        gradient.observe(now, now + 0.4)
        gradient.release()
        now += 0.4
    assert not gradient.is_measuring
    assert gradient.min_rtt == pytest.approx(0.4)


def test_its_repr_shows_the_state():
    assert repr(Gradient(POLICY, "api", 0.0)) == "<Gradient limit=3.0 under_way=0 min_rtt=0.0000 measuring>"
