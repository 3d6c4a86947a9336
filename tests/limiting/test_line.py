"""Callers take turns, however many requests one of them has."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.limiting.line import Line


def served(line):
    order = []
    while line:
        order.append(line.admit().caller)
    return order


def test_one_caller_with_many_does_not_delay_another_with_one():
    line = Line()
    for caller in "aaaab":
        line.join(caller, 1)
    assert "".join(served(line)) == "abaaa"


def test_each_ones_requests_stay_in_order():
    line = Line()
    waiters = [line.join("a", cost) for cost in (3, 1, 2)]
    assert [line.admit() for _ in range(3)] == waiters
    assert all(waiter.event.is_set() and waiter.granted for waiter in waiters)


def test_who_leaves_is_not_served_and_leaving_again_is_nothing():
    line = Line()
    first, second = line.join("a", 1), line.join("a", 1)
    line.leave(first)
    line.leave(first)
    assert (line.first(), line.size) == (second, 1)
    line.leave(second)
    assert line.first() is None
    assert not line


def test_who_is_dismissed_wakes_without_having_been_granted():
    line = Line()
    waiter = line.join("a", 1)
    line.dismiss()
    assert waiter.event.is_set()
    assert not waiter.granted
    assert line.size == 0


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_between_two_turns_of_a_caller_everybody_else_who_waits_has_had_one(callers):
    line = Line()
    for caller in callers:
        line.join(caller, 1)
    order = served(line)
    assert sorted(order) == sorted(callers)
    for at, caller in enumerate(order):
        again = next((later for later in range(at + 1, len(order)) if order[later] == caller), None)
        if again is not None:
            between = set(order[at + 1 : again])
            waiting = {other for other in set(callers) - {caller} if order[again:].count(other)}
            assert waiting <= between
