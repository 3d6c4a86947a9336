import time

import pytest
import trio

from proxyd.certs.authority import Authority
from proxyd.certs.root import make_root
from proxyd.control import leaves as module
from proxyd.control.leaves import CallerCap, Leaves
from proxyd.core.limits import Limits
from tests.control.fakes import service


@pytest.fixture
def leaves():
    leaves = Leaves(Authority(make_root()))
    leaves.configure(service("a", "a.example", "*.b.example").hosts, False, Limits())
    leaves.commit()
    return leaves


async def test_leaf_is_made_ahead_once_and_again_when_it_is_due(leaves, autojump_clock):
    put = []
    [first] = leaves.ahead()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaves.keep, put.append)
        await trio.sleep(1000)
        assert put == []
        assert leaves.ahead() == [first]
        leaves._clock = lambda: first.expires - 7 * 3600
        await trio.sleep(module.RENEWAL_SECONDS)
        leaves._clock = time.time
        assert leaves.ahead() == put != [first]
        nursery.cancel_scope.cancel()


async def test_all_but_the_first_leaves_are_made_in_the_background(leaves, monkeypatch, autojump_clock):
    monkeypatch.setattr(module, "AT_ONCE", 2)
    put = []
    leaves.configure(service("a", *(f"h{n}.example" for n in range(4))).hosts, False, Limits())
    leaves.commit()
    assert [leaf.host for leaf in leaves.ahead()] == ["h0.example", "h1.example"]

    def take(leaf):
        put.append(leaf.host)
        if len(put) == 1:  # another configuration comes between two of them
            leaves.configure(service("a", "h0.example", "new.example").hosts, False, Limits())
            leaves.commit()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaves.keep, take)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert put == ["h2.example", "new.example"]
    assert [leaf.host for leaf in leaves.ahead()] == ["h0.example", "new.example"]


async def test_a_configuration_that_does_not_stay_has_no_leaves(leaves, autojump_clock):
    put = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaves.keep, put.append)
        await trio.sleep(1)
        leaves.configure(service("b", "other.example").hosts, False, Limits())
        await trio.sleep(2 * module.RENEWAL_SECONDS)
        assert [leaf.host for leaf in put] == ["a.example"]
        assert leaves.ahead() == []
        leaves.configure(service("a", "a.example").hosts, False, Limits())
        await trio.sleep(2 * module.RENEWAL_SECONDS)
        assert [leaf.host for leaf in put] == ["a.example", "a.example"]  # the other hosts took its intermediate along
        nursery.cancel_scope.cancel()


async def test_leaves_ahead_and_kept_are_bounded(leaves, monkeypatch, autojump_clock):
    monkeypatch.setattr(module, "MAX_AHEAD", 2)
    monkeypatch.setattr(module, "MAX_CACHED", 3)
    leaves.configure(service("a", *(f"h{n}.example" for n in range(5)), "*.b.example").hosts, False, Limits())
    leaves.commit()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaves.keep, lambda leaf: None)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [leaf.host for leaf in leaves.ahead()] == ["h0.example", "h1.example"]
    for number in range(10):
        leaves.answer(f"{number}.b.example", "uid:1")
    assert len(leaves._cache) == 3


def test_cap_counts_by_caller_and_by_the_hour():
    now = 0.0
    cap = CallerCap(lambda: now)
    assert [cap.take("a", 2), cap.take("a", 2), cap.take("a", 2), cap.take("b", 2)] == [True, True, False, True]
    now = 3600.0
    assert cap.take("a", 2)


def test_number_of_callers_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_CALLERS", 2)
    cap = CallerCap(lambda: 0.0)
    assert [cap.take(caller, 9) for caller in ("a", "b", "c", "a")] == [True, True, False, True]
