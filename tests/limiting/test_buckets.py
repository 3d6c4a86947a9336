"""Shared limits: whatever members do, and however late they say it, no limit is exceeded."""

import bisect
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.limiting.buckets import (
    MAX_ENTRIES,
    Bucket,
    Quota,
    QuotaBucket,
    Rate,
    RateBucket,
    Spent,
    Window,
    WindowBucket,
)

LIFETIME = 2.0


@dataclass
class Member:
    """Holds a lease, spends, and reports now and then, or dies."""

    name: str
    tokens: int = 0
    until: float = 0.0
    untold: list[tuple[float, int]] = field(default_factory=list)


class Fleet:
    """Members of one limit, and when tokens were really spent."""

    def __init__(self, rule: Rate | Window | Quota) -> None:
        self.rule = rule
        self.value = b""
        self.now = 1000.0
        self.members = [Member(f"m{number}") for number in range(3)]
        self.spends: list[float] = []

    def bucket(self) -> Bucket:
        if isinstance(self.rule, Rate):
            return RateBucket.decode(self.rule, self.value, self.now)
        if isinstance(self.rule, Window):
            return WindowBucket.decode(self.rule, self.value, self.now)
        return QuotaBucket.decode(self.rule, self.value, self.now)

    def take(self, member: Member, want: int) -> None:
        bucket = self.bucket()
        grant = bucket.take(member.name, want, self.now, LIFETIME)
        assert 0 <= grant.tokens <= want
        assert grant.tokens or grant.wait > 0
        self.value = bucket.encode()
        if self.now >= member.until:
            member.tokens, member.untold = 0, []
        member.tokens += grant.tokens
        member.until = self.now + LIFETIME

    def spend(self, member: Member, count: int) -> None:
        if self.now < member.until:
            count = min(count, member.tokens)
            member.tokens -= count
            self.spends += [self.now] * count
            if count:
                member.untold.append((self.now, count))

    def settle(self, member: Member, kept: int) -> None:
        if self.now >= member.until:
            member.tokens, member.untold = 0, []
        kept = min(kept, member.tokens)
        bucket = self.bucket()
        spent = [Spent(count, self.now - when) for when, count in member.untold]
        bucket.settle(member.name, spent, kept, self.now, LIFETIME)
        self.value = bucket.encode()
        member.untold.clear()
        member.tokens = kept
        member.until = self.now + LIFETIME


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "spend", "settle", "wait"]),
        st.integers(0, 2),
        st.integers(0, 12),
        st.floats(0.0, 1.5),
    ),
    max_size=60,
)


def play(fleet: Fleet, steps: list[tuple[str, int, int, float]]) -> None:
    for what, who, count, seconds in steps:
        member = fleet.members[who]
        if what == "take":
            fleet.take(member, count)
        elif what == "spend":
            fleet.spend(member, count)
        elif what == "settle":
            fleet.settle(member, count)
        else:
            fleet.now += seconds


@given(STEPS, st.sampled_from([Rate(10, 10), Rate(3, 1), Rate(0.5, 7)]))
def test_a_rate_is_never_exceeded_in_any_span_of_time(steps: list[tuple[str, int, int, float]], rule: Rate) -> None:
    fleet = Fleet(rule)
    play(fleet, steps)
    spends = fleet.spends
    for first in range(len(spends)):
        for last in range(first, len(spends)):
            assert last - first + 1 <= rule.burst + rule.rate * (spends[last] - spends[first]) + 1e-6


@given(STEPS, st.sampled_from([Window(10, 1.0), Window(3, 2.0), Window(20, 5.0)]))
def test_a_window_never_holds_more_than_its_limit(steps: list[tuple[str, int, int, float]], rule: Window) -> None:
    fleet = Fleet(rule)
    play(fleet, steps)
    for at, when in enumerate(fleet.spends):
        within = at + 1 - bisect.bisect_right(fleet.spends, when - rule.seconds + 1e-9)
        assert within <= rule.limit


@given(STEPS)
def test_a_quota_is_never_exceeded_and_misses_what_is_lent_at_most(steps: list[tuple[str, int, int, float]]) -> None:
    fleet = Fleet(Quota(25, 0.0, 1e9))
    play(fleet, steps)
    assert len(fleet.spends) <= 25


def test_what_comes_back_can_be_lent_again() -> None:
    fleet = Fleet(Window(10, 60.0))
    first, second = fleet.members[:2]
    fleet.take(first, 10)
    fleet.take(second, 1)
    assert second.tokens == 0
    fleet.spend(first, 4)
    fleet.settle(first, 0)
    fleet.take(second, 10)
    assert second.tokens == 6


def test_a_member_that_died_holds_a_window_up_until_its_lease_and_the_window_are_over() -> None:
    fleet = Fleet(Window(10, 60.0))
    dead, alive = fleet.members[:2]
    fleet.take(dead, 10)
    fleet.now += 61
    fleet.take(alive, 10)
    assert alive.tokens == 0
    fleet.now += 1.5
    fleet.take(alive, 10)
    assert alive.tokens == 10


def test_an_idle_rate_fills_to_its_burst_whatever_happened() -> None:
    fleet = Fleet(Rate(10, 5))
    fleet.take(fleet.members[0], 5)
    fleet.now += 10
    fleet.take(fleet.members[1], 10)
    assert fleet.members[1].tokens == 0  # the lease was over only now, and nothing was refilled above it
    fleet.now += 0.5
    fleet.take(fleet.members[1], 10)
    assert fleet.members[1].tokens == 5


def test_a_new_period_of_a_quota_begins_with_nothing_used() -> None:
    old, new = Quota(5, 0.0, 100.0), Quota(5, 100.0, 200.0)
    bucket = QuotaBucket.decode(old, b"", 50.0)
    assert sum(bucket.take("a", 9, 50.0, LIFETIME).tokens for _ in range(9)) == 5
    assert bucket.take("a", 1, 50.0, LIFETIME).tokens == 0
    later = QuotaBucket.decode(new, bucket.encode(), 150.0)
    assert later.left == 5


def test_a_window_keeps_a_bounded_number_of_instants_and_errs_on_the_safe_side() -> None:
    bucket = WindowBucket.decode(Window(1000, 3600.0), b"", 0.0)
    for second in range(600):
        bucket.take("a", 1, float(second), LIFETIME)
        bucket.settle("a", [Spent(1, 0.0)], 0, float(second), LIFETIME)
    assert len(bucket.encode()) < 20 * MAX_ENTRIES
    assert bucket.take("b", 1000, 600.0, LIFETIME).tokens == 400


def test_a_wait_says_when_there_will_be_a_token() -> None:
    bucket = RateBucket.decode(Rate(2.0, 1), b"", 0.0)
    bucket.take("a", 1, 0.0, LIFETIME)
    bucket.settle("a", [Spent(1, 0.0)], 0, 0.0, LIFETIME)
    assert bucket.take("a", 1, 0.0, LIFETIME).wait == pytest.approx(0.5)
    window = WindowBucket.decode(Window(1, 10.0), b"", 0.0)
    window.take("a", 1, 0.0, LIFETIME)
    window.settle("a", [Spent(1, 0.0)], 0, 1.0, LIFETIME)
    assert window.take("a", 1, 4.0, LIFETIME).wait == pytest.approx(7.0)


def test_a_window_believes_in_tokens_that_are_on_their_way_though_it_has_forgotten_them():
    rule = Window(10, 1.0)
    bucket = WindowBucket.decode(rule, b"", 1000.0)
    bucket.settle("m0", [], 6, 1000.0, LIFETIME)
    assert bucket.take("m1", 10, 1000.0, LIFETIME).tokens == 4
    bucket.settle("m0", [Spent(6, 0.0)], 0, 1000.5, LIFETIME)
    assert bucket.take("m2", 10, 1001.2, LIFETIME).tokens == 0
    bucket.settle("m1", [], 0, 1001.3, LIFETIME)
    assert bucket.take("m2", 10, 1001.6, LIFETIME).tokens == 10
