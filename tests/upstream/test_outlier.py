from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.resilience import OutlierPolicy
from proxyd.core.service import Endpoint
from proxyd.upstream.endpoints import EndpointState
from proxyd.upstream.outlier import OutlierDetector

POLICY = OutlierPolicy(consecutive_5xx=5, consecutive_gateway=3, consecutive_local=2, base_ejection=30.0)


def states(count):
    return [EndpointState(Endpoint("10.0.0.1", 8000 + n), 0.0, None) for n in range(count)]


def fail(detector, group, index, count, status=500, now=1.0):
    for _ in range(count):
        detector.failure(group[index], status, group, now)


def test_failures_in_a_row_take_an_endpoint_out_by_their_kind():
    for status, bound in ((500, 5), (503, 3), (0, 2)):
        group = states(3)
        detector = OutlierDetector(POLICY, 0.0)
        fail(detector, group, 0, bound - 1, status)
        assert group[0].is_available(1.0), status
        fail(detector, group, 0, 1, status)
        assert not group[0].is_available(30.9), status
        assert group[0].is_available(31.0), status


def test_a_success_between_starts_the_count_again():
    group = states(2)
    detector = OutlierDetector(POLICY, 0.0)
    fail(detector, group, 0, 4)
    detector.success(group[0])
    fail(detector, group, 0, 4)
    assert group[0].is_available(1.0)


def test_ejections_grow_and_shrink_with_healthy_intervals():
    group = states(2)
    detector = OutlierDetector(POLICY, 0.0)
    fail(detector, group, 0, 5)
    fail(detector, group, 0, 5, now=40.0)
    assert group[0].ejected_until == 40.0 + 60.0
    detector.look(group, 150.0)  # an interval with failures
    detector.look(group, 161.0)
    fail(detector, group, 0, 5, now=200.0)
    assert group[0].ejected_until == 200.0 + 60.0


def test_the_last_one_stays_and_no_more_than_the_share_leaves():
    pair = states(2)
    detector = OutlierDetector(POLICY, 0.0)
    fail(detector, pair, 0, 5)
    fail(detector, pair, 1, 50)
    assert pair[1].is_available(1.0)
    four = states(4)
    for index in range(4):
        fail(detector, four, index, 5)
    assert [state.is_available(1.0) for state in four] == [False, False, True, True]


def test_one_that_fails_more_than_its_peers_is_found_by_rate():
    policy = OutlierPolicy(consecutive_5xx=0, consecutive_gateway=0, rate_hosts=5, rate_volume=100, failure_rate=0.0)
    group = states(6)
    detector = OutlierDetector(policy, 0.0)
    for index, state in enumerate(group):
        for call in range(100):
            if call < (40 if index == 2 else 1):
                detector.failure(state, 500, group, 1.0)
            else:
                detector.success(state)
    detector.look(group, 11.0)
    assert [state.is_available(11.0) for state in group] == [True, True, False, True, True, True]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 500, 503, 200]), st.floats(0, 20)), max_size=150))
def test_there_is_always_someone_left(steps):
    group = states(4)
    detector = OutlierDetector(POLICY, 0.0)
    now = 0.0
    for index, status, wait in steps:
        now += wait
        detector.look(group, now)
        if status == 200:
            detector.success(group[index])
        else:
            detector.failure(group[index], status, group, now)
        assert any(state.is_available(now) for state in group)
        assert sum(not state.is_available(now) for state in group) <= 2


def test_failures_that_end_during_an_ejection_do_not_bring_the_next_one_nearer():
    group = states(3)
    detector = OutlierDetector(POLICY, 0.0)
    fail(detector, group, 0, 5)
    fail(detector, group, 0, 40, now=20.0)
    fail(detector, group, 0, 1, now=31.5)
    assert group[0].is_available(32.0)


def test_in_a_brownout_nobody_is_an_outlier():
    group = states(3)
    detector = OutlierDetector(POLICY, 0.0)
    for number in range(300):
        one = group[number % 3]
        detector.success(one) if number % 2 else detector.failure(one, 500, group, 1.0)
    fail(detector, group, 0, 6)
    assert group[0].is_available(1.0)
    fail(detector, group, 0, 20)
    assert not group[0].is_available(1.0), "more than chance explains"


def test_where_all_others_fail_too_none_is_taken_out():
    group = states(3)
    detector = OutlierDetector(POLICY, 0.0)
    for state in group[1:]:
        state.calls = state.failures = 50
    fail(detector, group, 0, 50)
    assert group[0].is_available(1.0)
