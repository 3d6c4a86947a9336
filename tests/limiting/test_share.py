"""What one member keeps to alone."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.limiting import Limit, Period
from proxyd.limiting.share import Share


def taken(share: Share, tries: int, now: float) -> int:
    return sum(share.try_take(1, now) == 0.0 for _ in range(tries))


def test_a_rate_is_divided_and_comes_back_with_time() -> None:
    share = Share(Limit("r", rate=10.0, burst=10), parts=2, left=10, now=0.0)
    assert taken(share, 20, 0.0) == 5
    assert taken(share, 20, 1.0) == 5


def test_a_window_is_divided_and_what_was_left_bounds_it() -> None:
    limit = Limit("w", window=100, window_seconds=60.0)
    assert taken(Share(limit, parts=4, left=100, now=0.0), 200, 0.0) == 25
    assert taken(Share(limit, parts=4, left=40, now=0.0), 200, 0.0) == 10
    share = Share(limit, parts=4, left=40, now=0.0)
    taken(share, 200, 0.0)
    assert share.try_take(1, 1.0) > 0
    assert taken(share, 200, 60.1) == 25


def test_a_quota_is_never_spent_alone() -> None:
    share = Share(Limit("q", quota=100, period=Period.DAY), parts=1, left=100, now=0.0)
    assert taken(share, 10, 0.0) == 0


@given(parts=st.integers(1, 9), window=st.integers(1, 500), left=st.integers(0, 500))
def test_all_members_together_keep_to_the_window(parts: int, window: int, left: int) -> None:
    limit = Limit("w", window=window, window_seconds=10.0)
    left = min(left, window)
    total = sum(taken(Share(limit, parts, left, 0.0), window + 1, 0.0) for _ in range(parts))
    assert total <= left
