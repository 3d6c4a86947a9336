import pytest

from proxyd.upstream.chance import is_accident


@pytest.mark.parametrize(
    ("run", "calls", "failures", "accident"),
    [
        (5, 0, 0, False),
        (5, 19, 10, False),
        (5, 1000, 0, False),
        (5, 1000, 1, False),
        (5, 1000, 333, True),
        (11, 1000, 333, False),
        (5, 20, 20, True),
    ],
)
def test_a_run_is_an_accident_where_scattered_failures_make_it_likely(run, calls, failures, accident):
    assert is_accident(run, calls, failures) is accident
