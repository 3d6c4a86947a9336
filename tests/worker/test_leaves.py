import dataclasses
import time

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.core.errors import Flag, ProxyError
from proxyd.core.messages import InstallLeaf
from proxyd.worker.leaves import RENEW_SECONDS, WAIT_SECONDS, Leaves
from tests.lab.plane import leaf

HOST = "api.example"


def lasting(seconds, host=HOST):
    return dataclasses.replace(leaf(host), expires=time.time() + seconds)


def refused(why, host=HOST):
    return InstallLeaf(host, b"", b"", 0.0, refused=why)


@pytest.fixture
def wanted():
    return []


@pytest.fixture
def leaves(wanted):
    return Leaves(lambda host, caller: wanted.append((host, caller)))


async def test_an_installed_leaf_serves_at_once_and_its_context_is_kept(leaves, wanted):
    leaves.install(lasting(3600))
    context = await leaves.context(HOST, "uid:1")
    assert await leaves.context(HOST, "uid:2") is context
    assert wanted == []


async def test_contexts_of_both_libraries_are_kept_until_the_leaf_changes(leaves, wanted):
    leaves.install(lasting(3600))
    for context in (leaves.context, leaves.alpn_context):
        first = await context(HOST, "uid:1")
        assert await context(HOST, "uid:1") is first
        leaves.install(lasting(7200))
        assert await context(HOST, "uid:1") is not first
    assert wanted == []


async def test_a_handshake_waits_for_its_leaf_which_is_asked_for_once(leaves, wanted, nursery):
    got = []

    async def ask(caller):
        got.append(await leaves.context(HOST, caller))

    for caller in ("uid:1", "uid:2"):
        nursery.start_soon(ask, caller)
        await wait_all_tasks_blocked()
    assert wanted == [(HOST, "uid:1")]
    leaves.install(lasting(3600, "other.example"))
    await wait_all_tasks_blocked()
    assert got == []
    leaves.install(lasting(3600))
    await wait_all_tasks_blocked()
    assert len(got) == 2
    assert got[0] is got[1]


async def test_a_refusal_ends_the_wait_and_says_why_and_the_next_asks_anew(leaves, wanted, nursery):
    async def refuse(why):
        await wait_all_tasks_blocked()
        leaves.install(refused(why))

    for why in ("too many leaves for uid:1", "the authority's key is gone"):
        nursery.start_soon(refuse, why)
        with pytest.raises(ProxyError, match=why) as caught:
            await leaves.context(HOST, "uid:1")
        assert (caught.value.status, caught.value.flag) == (503, Flag.CONFIGURATION)
    assert len(wanted) == 2


async def test_who_asks_as_another_is_refused_gets_the_next_answer(leaves, wanted, nursery, autojump_clock):
    async def be_refused():
        with pytest.raises(ProxyError):
            await leaves.context(HOST, "uid:1")

    async def install():
        await wait_all_tasks_blocked()
        leaves.install(lasting(3600))

    nursery.start_soon(be_refused)
    await wait_all_tasks_blocked()
    leaves.install(refused("later"))
    nursery.start_soon(install)
    began = trio.current_time()
    await leaves.context(HOST, "uid:2")  # asked before the refused one runs on
    assert trio.current_time() == began
    assert wanted == [(HOST, "uid:1"), (HOST, "uid:2")]


async def test_a_control_that_does_not_answer_is_given_up_on(leaves, wanted, autojump_clock):
    for _ in range(2):
        began = trio.current_time()
        with pytest.raises(ProxyError, match="does not answer"):
            await leaves.context(HOST, "uid:1")
        assert trio.current_time() - began == pytest.approx(WAIT_SECONDS)
    assert len(wanted) == 2


async def test_a_leaf_near_its_end_serves_while_the_next_is_asked_for_once(leaves, wanted):
    leaves.install(lasting(RENEW_SECONDS - 1))
    old = await leaves.context(HOST, "uid:1")
    assert await leaves.context(HOST, "uid:2") is old
    assert wanted == [(HOST, "uid:1")]
    leaves.install(lasting(3600))
    new = await leaves.context(HOST, "uid:1")
    assert new is not old
    assert wanted == [(HOST, "uid:1")]


async def test_a_renewal_that_was_lost_is_asked_for_again(leaves, wanted, autojump_clock):
    leaves.install(lasting(RENEW_SECONDS - 1))
    for _ in range(2):
        await leaves.context(HOST, "uid:1")
    await trio.sleep(WAIT_SECONDS)
    await leaves.context(HOST, "uid:1")
    assert len(wanted) == 2


async def test_an_unanswered_renewal_does_not_keep_the_leaf_from_being_asked_for_once_expired(
    leaves, wanted, nursery, autojump_clock
):
    leaves.install(lasting(RENEW_SECONDS - 1))
    await leaves.context(HOST, "uid:1")
    await trio.sleep(WAIT_SECONDS)
    leaves._leaves[HOST] = lasting(-1)
    got = []

    async def ask():
        got.append(await leaves.context(HOST, "uid:1"))

    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    assert len(wanted) == 2
    leaves.install(lasting(3600))
    await wait_all_tasks_blocked()
    assert len(got) == 1


async def test_a_refused_renewal_leaves_the_old_leaf_in_service(leaves, wanted):
    leaves.install(lasting(RENEW_SECONDS - 1))
    old = await leaves.context(HOST, "uid:1")
    leaves.install(refused("later"))
    assert await leaves.context(HOST, "uid:1") is old


async def test_an_expired_leaf_does_not_serve(leaves, wanted, autojump_clock):
    leaves.install(lasting(-1))
    with pytest.raises(ProxyError):
        await leaves.context(HOST, "uid:1")
    assert wanted == [(HOST, "uid:1")]


async def test_the_least_recently_used_leaf_is_forgotten_past_the_limit(wanted, autojump_clock):
    leaves = Leaves(lambda host, caller: wanted.append(host), limit=2)
    leaves.install(lasting(3600, "a.example"))
    leaves.install(lasting(3600, "b.example"))
    await leaves.context("a.example", "uid:1")
    leaves.install(lasting(3600, "c.example"))
    await leaves.context("a.example", "uid:1")
    await leaves.context("c.example", "uid:1")
    assert wanted == []
    with pytest.raises(ProxyError):
        await leaves.context("b.example", "uid:1")
    assert wanted == ["b.example"]


async def test_a_wait_that_is_cancelled_leaves_the_others_waiting(leaves, wanted, nursery):
    with trio.move_on_after(0):
        await leaves.context(HOST, "uid:1")
    got = []

    async def ask():
        got.append(await leaves.context(HOST, "uid:2"))

    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    leaves.install(lasting(3600))
    await wait_all_tasks_blocked()
    assert len(got) == 1
