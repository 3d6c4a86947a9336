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
    budget.request(10.0)
    assert budget.try_retry(10.0)
    assert not budget.try_retry(20.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_no_window_of_ten_seconds_has_more_retries_than_the_budget(steps):
    budget = RetryBudget(0.5, 0.2)
    now = 100.0
    requests, retries = [], []
    for is_retry, wait in steps:
        now += wait
        if not is_retry:
            budget.request(now)
            requests.append(int(now))
        elif budget.try_retry(now):
            retries.append(int(now))
            recent = int(now) - SECONDS
            allowed = 0.5 * sum(second > recent for second in requests) + 2
            assert sum(second > recent for second in retries) <= allowed
