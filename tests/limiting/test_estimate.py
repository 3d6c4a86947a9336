"""An estimate never lends what the vendor does not have, and lends all of it before the reset."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxyd.limiting.buckets import Spent
from proxyd.limiting.estimate import MARGIN, PLAIN, PROBE, Estimate, Seen

LIFE = 5.0


def seen(remaining: int, *, limit: int = 10, reset: float = 60.0, ago: float = 0.0, name: str = "") -> Seen:
    return Seen(name, remaining, limit, reset, 0.0, ago, remaining)


def told(remaining: int, now: float = 0.0, **more: float) -> Estimate:
    estimate = Estimate()
    assert estimate.take("a", 1, 0.0, now, LIFE).tokens == 1
    estimate.observe([seen(remaining, **more)], now)
    estimate.settle("a", [Spent(1, 0.0)], 0, now, LIFE)
    return estimate


def drain(estimate: Estimate, now: float, reserve: float = 0.0) -> int:
    """Take until there is no more; leases are as good as spent."""
    taken = 0
    while tokens := estimate.take("a", 100, reserve, now, LIFE).tokens:
        taken += tokens
    return taken


def test_one_request_goes_first_and_the_others_learn_from_it() -> None:
    estimate = Estimate()
    assert estimate.take("a", 5, 0.0, 0.0, LIFE).tokens == 1
    assert estimate.take("b", 5, 0.0, 0.1, LIFE).tokens == 0
    estimate.observe([seen(9)], 0.2)
    estimate.settle("a", [Spent(1, 0.0)], 0, 0.2, LIFE)
    assert drain(estimate, 0.3) == 9


def test_twice_as_many_go_first_each_time_that_nothing_comes_back() -> None:
    estimate = Estimate()
    tokens = [estimate.take("a", 100, 0.0, at * PROBE, LIFE).tokens for at in range(4)]
    assert tokens == [1, 2, 4, 8]


def test_a_vendor_that_tells_nothing_is_not_counted() -> None:
    estimate = Estimate()
    estimate.take("a", 1, 0.0, 0.0, LIFE)
    estimate.observe([PLAIN], 0.1)
    assert estimate.is_plain
    assert estimate.take("b", 1000, 0.0, 0.1, LIFE).tokens == 1000


def test_what_is_lent_is_not_lent_again() -> None:
    estimate = told(9)
    first = estimate.take("a", 5, 0.0, 1.0, LIFE).tokens
    assert first + drain(estimate, 1.0) == 9
    assert estimate.take("b", 1, 0.0, 1.0, LIFE).tokens == 0


def test_what_comes_back_is_lent_to_another() -> None:
    estimate = told(9)
    assert estimate.take("a", 5, 0.0, 1.0, LIFE).tokens == 5
    estimate.settle("a", [Spent(2, 0.0)], 0, 1.5, LIFE)
    estimate.observe([seen(7, ago=0.3)], 1.5)
    assert drain(estimate, 1.5) == 7


def test_others_who_spend_from_the_same_credential_are_seen() -> None:
    estimate = told(9)
    estimate.take("a", 1, 0.0, 1.0, LIFE)
    estimate.observe([seen(3)], 1.1)
    estimate.settle("a", [Spent(1, 0.0)], 0, 1.1, LIFE)
    assert drain(estimate, 1.2) == 3


def test_an_attempt_that_nobody_answered_counts() -> None:
    estimate = told(5)
    estimate.take("a", 1, 0.0, 1.0, LIFE)
    estimate.settle("a", [Spent(1, 0.0)], 0, 1.1, LIFE, silent=1)
    assert drain(estimate, 1.2) == 4


def test_a_lease_that_nobody_settles_counts_as_spent() -> None:
    estimate = told(5)
    assert estimate.take("dead", 2, 0.0, 1.0, LIFE).tokens == 2
    assert drain(estimate, 1.0 + LIFE + 0.1) == 3


def test_where_nothing_is_left_the_wait_is_that_until_the_reset() -> None:
    estimate = told(0, reset=60.0)
    grant = estimate.take("a", 1, 0.0, 10.0, LIFE)
    assert (grant.tokens, grant.wait) == (0, pytest.approx(50.0 + MARGIN))


def test_after_a_reset_one_goes_first_since_a_window_may_slide() -> None:
    estimate = told(0, reset=60.0)
    assert estimate.take("a", 5, 0.0, 61.5, LIFE).tokens == 1
    assert estimate.take("b", 5, 0.0, 61.5, LIFE).tokens == 0
    estimate.observe([seen(1, reset=3.0)], 61.6)
    estimate.settle("a", [Spent(1, 0.0)], 0, 61.6, LIFE)
    assert drain(estimate, 61.7) == 1


def test_a_window_that_slides_gives_back_before_its_reset() -> None:
    estimate = told(1, reset=60.0)
    estimate.take("a", 1, 0.0, 1.0, LIFE)
    estimate.observe([seen(6, reset=60.0)], 1.1)
    estimate.settle("a", [Spent(1, 0.0)], 0, 1.1, LIFE)
    assert drain(estimate, 2.0) == 6


def test_a_window_that_answers_tell_of_no_more_is_forgotten_after_its_reset() -> None:
    estimate = told(0, reset=5.0)
    estimate.take("a", 1, 0.0, 7.0, LIFE)
    estimate.observe([PLAIN], 7.1)
    assert estimate.is_plain


def test_the_tightest_of_several_windows_counts() -> None:
    estimate = Estimate()
    estimate.take("a", 1, 0.0, 0.0, LIFE)
    estimate.observe([seen(2, name="burst", reset=1.0), seen(500, name="day", limit=1000, reset=9000.0)], 0.0)
    estimate.settle("a", [Spent(1, 0.0)], 0, 0.0, LIFE)
    assert drain(estimate, 0.1) == 2


def test_the_reserve_is_left_to_others() -> None:
    estimate = told(9, limit=10)
    assert drain(estimate, 1.0, reserve=0.2) == 7
    assert drain(estimate, 1.0, reserve=0.0) == 2


def test_a_refusal_stops_everybody_until_the_time_that_the_vendor_names() -> None:
    estimate = told(9)
    estimate.refused(20.0, 0.0, 1.0)
    assert estimate.take("a", 1, 0.0, 1.0, LIFE).wait == pytest.approx(20.0)
    assert estimate.take("b", 1, 0.0, 20.9, LIFE).tokens == 0
    assert estimate.take("b", 5, 0.0, 21.1, LIFE).tokens == 1, "one goes first"
    assert estimate.take("b", 5, 0.0, 21.1, LIFE).tokens == 0


def test_refusals_that_name_no_time_are_answered_with_longer_and_longer_pauses() -> None:
    estimate, now, waits = Estimate(), 0.0, []
    for _ in range(9):
        estimate.refused(None, 0.0, now)
        estimate.refused(None, 0.0, now)  # of what was under way
        waits.append(estimate.blocked_until - now)
        now = estimate.blocked_until + 0.1
    assert waits[:3] == pytest.approx([2.0, 4.0, 8.0])
    assert waits[-1] == pytest.approx(60.0)


def test_what_a_vendor_is_known_for_stands_in_for_a_time() -> None:
    estimate = Estimate()
    estimate.refused(None, 60.0, 0.0)
    assert estimate.blocked_until == 60.0


def test_a_state_survives_its_way_through_a_store() -> None:
    estimate = told(9)
    estimate.take("a", 3, 0.0, 1.0, LIFE)
    estimate.refused(2.0, 0.0, 1.0)
    copy = Estimate.decode(estimate.encode())
    assert copy.encode() == estimate.encode()
    assert copy.take("b", 99, 0.0, 3.1, LIFE) == estimate.take("b", 99, 0.0, 3.1, LIFE)


class Vendor:
    """Fixed or sliding windows, kept exactly; requests take time on both ways."""

    def __init__(self, limit: int, length: float, *, slides: bool) -> None:
        self.limit, self.length, self.slides = limit, length, slides
        self.times: list[float] = []
        self.ends = 0.0
        self.refusals = 0
        self.served = 0

    def ask(self, now: float) -> Seen:
        if self.slides:
            self.times = [one for one in self.times if one > now - self.length]
            reset = self.times[0] + self.length - now if self.times else self.length
        else:
            if now >= self.ends:
                self.times, self.ends = [], now + self.length
            reset = self.ends - now
        if len(self.times) >= self.limit:
            self.refusals += 1
        else:
            self.times.append(now)
            self.served += 1
        left = self.limit - len(self.times)
        return Seen("", left, self.limit, reset, 0.0, 0.0, left)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(2, 60), st.booleans())
@example(329852, 1, 27, True)  # a request that was overtaken is not in the word on the one that overtook it
def test_whatever_the_order_of_answers_a_fixed_window_refuses_nobody_and_one_that_slides_one_request_at_most(
    seed: int, members: int, limit: int, slides: bool
) -> None:
    rng = random.Random(seed)
    vendor = Vendor(limit, 10.0, slides=slides)
    estimate = Estimate()
    flying: list[tuple[float, float, int, str, Seen | None]] = []
    held = dict.fromkeys(map(str, range(members)), 0)
    serial, now = 0, 0.0
    while now < 40.0:
        now += rng.choice((0.001, 0.01, 0.1, 0.5))
        for entry in sorted(flying):
            due, sent, number, who, word = entry
            if due > now:
                continue
            flying.remove(entry)
            if word is None:  # it arrives at the vendor
                flying.append((due + rng.random() * 0.3, sent, number, who, vendor.ask(due)))
                continue
            estimate.observe([word._replace(reset=max(0.0, word.reset - (now - due)), ago=now - sent)], now)
            held[who] -= 1
            estimate.settle(who, [Spent(1, 0.0)], held[who], now, LIFE)
        who = str(rng.randrange(members))
        tokens = estimate.take(who, rng.randint(1, 5), 0.0, now, LIFE).tokens
        held[who] += tokens
        for _ in range(tokens):
            serial += 1
            flying.append((now + rng.random() * 0.3, now, serial, who, None))
    assert vendor.refusals <= (1 if slides else 0)
    assert vendor.served >= limit
