"""One number per key is as good as a bucket that is refilled all the time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from proxyd.limiting.gcra import Gcra


class Bucket:
    """A token bucket as textbooks have it."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.level, self.stamp = float(burst), 0.0

    def try_take(self, cost: int, now: float) -> bool:
        self.level = min(self.burst, self.level + (now - self.stamp) * self.rate)
        self.stamp = now
        if self.level + 1e-6 < cost:
            return False
        self.level -= cost
        return True


STEPS = st.lists(st.tuples(st.integers(0, 64), st.integers(1, 5), st.integers(0, 2)), max_size=60)
"""Sixteenths of a second until the next take, its cost, its key: exact in binary, so that nothing is rounded."""


@given(STEPS, st.sampled_from([0.5, 1.0, 2.0, 8.0]), st.integers(1, 6))
def test_it_takes_what_a_refilled_bucket_would(steps, rate, burst):
    gcra, buckets, now = Gcra(rate, burst), [Bucket(rate, burst) for _ in range(3)], 0.0
    for sixteenths, cost, key in steps:
        now += sixteenths / 16
        wait = gcra.try_take(key, cost, now)
        assert (wait == 0) == buckets[key].try_take(cost, now)


@given(STEPS, st.sampled_from([0.5, 1.0, 2.0, 8.0]), st.integers(1, 6))
def test_the_wait_that_it_tells_is_enough_and_not_too_long(steps, rate, burst):
    gcra, now = Gcra(rate, burst), 0.0
    for sixteenths, cost, key in steps:
        now += sixteenths / 16
        wait = gcra.try_take(key, cost, now)
        if wait == math.inf:
            assert cost > burst
        elif wait:
            assert gcra.try_take(key, cost, now + wait * 0.99 - 1e-6) > 0
            assert gcra.try_take(key, cost, now + wait) == 0
            now += wait


@given(st.lists(st.tuples(st.integers(0, 16), st.integers(1, 3)), max_size=80), st.integers(1, 5))
def test_in_any_span_at_most_the_burst_and_the_rate_times_its_length_is_taken(steps, burst):
    gcra, now, taken = Gcra(4.0, burst), 0.0, []
    for sixteenths, cost in steps:
        now += sixteenths / 16
        if not gcra.try_take(1, cost, now):
            taken.append((now, cost))
    for first, (begin, _) in enumerate(taken):
        total = 0
        for when, cost in taken[first:]:
            total += cost
            assert total <= burst + 4.0 * (when - begin) + 1e-6


def test_what_was_given_back_can_be_taken_again():
    gcra = Gcra(1.0, 2)
    assert [gcra.try_take(1, 1, 0.0) for _ in range(3)] == [0, 0, 1]
    gcra.give_back(1, 1)
    assert gcra.try_take(1, 1, 0.0) == 0


def test_what_is_left_and_when_it_is_full_again():
    gcra = Gcra(2.0, 4)
    assert (gcra.left(1, 0.0), gcra.reset(1, 0.0)) == (4, 0.0)
    gcra.try_take(1, 3, 0.0)
    assert (gcra.left(1, 0.0), gcra.reset(1, 0.0)) == (1, 1.5)
    assert (gcra.left(1, 1.0), gcra.reset(1, 1.0)) == (3, 0.5)


def test_keys_whose_buckets_are_full_again_are_forgotten():
    gcra = Gcra(1.0, 2)
    for key in range(1000):
        gcra.try_take(key, 1, 0.0)
    gcra.try_take(1, 1, 2.5)
    gcra.try_take(1, 1, 5.0)
    assert len(gcra) < 5


def test_a_bucket_that_is_not_full_outlives_a_change_of_generations():
    gcra = Gcra(1.0, 4)
    gcra.try_take(1, 4, 3.9)
    gcra.try_take(2, 1, 4.1)
    assert gcra.try_take(1, 1, 4.2) > 0


def test_there_are_never_more_keys_than_allowed_and_the_newest_stay():
    gcra = Gcra(1.0, 1000, most_keys=100)
    for key in range(1000):
        gcra.try_take(key, 1000, 0.0)
        assert len(gcra) <= 101
    assert all(gcra.try_take(key, 1, 0.0) > 0 for key in range(960, 1000))
