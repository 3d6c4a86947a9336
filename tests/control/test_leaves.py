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
    return leaves


async def test_leaf_is_made_ahead_once_and_again_when_it_is_due(leaves, autojump_clock):
    put = []
    async with trio.open_nursery() as nursery:
        assert leaves.ahead() == []
        nursery.start_soon(leaves.keep, put.append)
        await trio.sleep(1000)
        assert [leaf.host for leaf in put] == ["a.example"]
        assert leaves.ahead() == put
        leaves._clock = lambda: put[0].expires - 7 * 3600
        assert leaves.ahead() == []
        await trio.sleep(module.RENEWAL_SECONDS)
        assert [leaf.host for leaf in put] == ["a.example"] * 2
        nursery.cancel_scope.cancel()


async def test_leaves_of_a_new_configuration_are_made_at_once_and_others_have_turns(leaves, autojump_clock):
    put = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaves.keep, put.append)
        await trio.sleep(1)
        leaves.configure(service("a", "a.example", *(f"h{n}.example" for n in range(3))).hosts, False, Limits())
        while len(put) < 2:
            await trio.lowlevel.checkpoint()
        leaves.configure(service("a", "a.example", "h2.example").hosts, False, Limits())
        await trio.sleep(1)
        assert [leaf.host for leaf in put] == ["a.example", "h0.example", "h2.example"]
        nursery.cancel_scope.cancel()


def test_leaf_that_was_asked_for_is_minted_again_past_two_thirds_of_its_life(leaves):
    first = leaves.answer("x.b.example", "uid:1")
    leaves._clock = lambda: first.expires - 9 * 3600
    assert leaves.answer("x.b.example", "uid:1") == first
    leaves._clock = lambda: first.expires - 7 * 3600
    assert leaves.answer("x.b.example", "uid:1") != first


def test_host_that_left_the_configuration_has_no_leaf_any_more(leaves):
    assert not leaves.answer("x.b.example", "uid:1").refused
    leaves.configure(service("a", "a.example").hosts, False, Limits())
    assert leaves.answer("x.b.example", "uid:1").refused


async def test_leaves_ahead_and_kept_are_bounded(leaves, monkeypatch, autojump_clock):
    monkeypatch.setattr(module, "MAX_AHEAD", 2)
    monkeypatch.setattr(module, "MAX_CACHED", 3)
    leaves.configure(service("a", *(f"h{n}.example" for n in range(5)), "*.b.example").hosts, False, Limits())
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
