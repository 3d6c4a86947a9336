from hypothesis import given
from hypothesis import strategies as st

from proxyd.upstream.budget import SECONDS, RetryBudget


def test_retries_are_a_share_of_requests_beside_a_reserve():
    budget = RetryBudget(0.2, 0.1)
    for _ in range(100):
        budget.request(5.0)
    assert sum(budget.try_retry(5.0) for _ in range(100)) == 20 + 1


def test_requests_count_for_ten_seconds():
    budget = RetryBudget(1.0, 0.0)
    budget.request(0.5)
    assert budget.try_retry(0.9)
    budget.request(11.0)
    assert budget.try_retry(11.0)
    assert not budget.try_retry(11.0), "the first request is too long ago"


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_no_window_of_ten_seconds_has_more_retries_than_the_budget(steps):
    budget = RetryBudget(0.5, 0.2)
    now = 100.0
    requests, retries = [], []
    for is_retry, wait in steps:
        now += wait
        if not is_retry:
            budget.request(now)
            requests.append(now)
        elif budget.try_retry(now):
            retries.append(now)
            recent = now - SECONDS
            allowed = 0.5 * sum(at > recent for at in requests) + 2
            assert sum(at > recent for at in retries) <= allowed


def test_no_ten_seconds_hold_too_many_retries_wherever_they_begin():
    budget = RetryBudget(0.0, 1.0)
    assert sum(budget.try_retry(0.95) for _ in range(20)) == 10
    assert not budget.try_retry(10.05), "within ten seconds of the others"
    assert budget.try_retry(11.0)


def test_a_request_that_was_held_back_does_not_turn_the_time_back():
    budget = RetryBudget(0.0, 0.1)
    assert budget.try_retry(10.5)
    budget.request(9.9)
    assert not budget.try_retry(10.6)
