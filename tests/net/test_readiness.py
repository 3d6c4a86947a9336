import socket

import pytest
import trio
import trio.testing

from proxyd.net import readiness
from proxyd.net.stream import BURST, Late, Stream


@pytest.fixture
async def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = Stream(ours)
    yield stream, theirs
    stream.close()
    theirs.close()


async def waiting(stream):
    while stream.waiter is None:
        await trio.lowlevel.checkpoint()


async def test_data_that_was_there_before_the_first_wait_is_seen(pair):
    stream, theirs = pair
    theirs.send(b"early")
    assert await stream.receive() == b"early"


async def test_a_fin_that_comes_with_the_data_is_seen_after_it(pair):
    stream, theirs = pair
    theirs.send(b"last words")
    theirs.close()
    assert await stream.receive() == b"last words"
    with trio.fail_after(5):
        assert await stream.receive() == b""


async def test_data_beyond_the_size_of_a_read_needs_no_new_edge(pair):
    stream, theirs = pair
    theirs.send(b"abcdef")
    with trio.fail_after(5):
        assert [await stream.receive(2) for _ in range(3)] == [b"ab", b"cd", b"ef"]


async def test_an_edge_that_another_reader_used_up_costs_a_read_in_vain_only(pair):
    stream, theirs = pair
    theirs.send(b"one")
    assert await stream.receive() == b"one"
    theirs.send(b"two")
    await trio.testing.wait_all_tasks_blocked()
    assert stream.ready
    assert stream.receive_nowait() == b"two"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, stream, b"three")
        await waiting(stream)
        theirs.send(b"three")


async def expect(stream, data):
    with trio.fail_after(5):
        assert await stream.receive() == data


async def test_a_cancelled_wait_leaves_the_stream_usable(pair):
    stream, theirs = pair
    with trio.move_on_after(0.01):
        await stream.receive()
    assert stream.waiter is None
    theirs.send(b"later")
    await expect(stream, b"later")


async def test_a_stream_that_is_expired_during_a_wait_says_why(pair):
    stream, _ = pair
    async with trio.open_nursery() as nursery:

        async def wait():
            with pytest.raises(Late, match="drain"):
                await stream.receive()

        nursery.start_soon(wait)
        await waiting(stream)
        stream.expire("drain")


async def test_a_second_stream_on_the_same_socket_takes_the_edges_over(pair):
    former, theirs = pair
    theirs.send(b"first")
    await expect(former, b"first")
    latter = Stream(former.sock)
    theirs.send(b"second")
    await expect(latter, b"second")
    former.unwatch()  # takes nothing from the other
    theirs.send(b"third")
    await expect(latter, b"third")


async def test_a_number_that_is_used_again_belongs_to_the_new_socket(pair):
    stream, theirs = pair
    theirs.send(b"x")
    await expect(stream, b"x")
    number = stream.sock.fileno()
    theirs.send(b"an edge that nobody waits for")
    stream.close()
    other, other_end = socket.socketpair()
    with other, other_end:
        other.setblocking(False)
        again = Stream(other)
        assert number in (other.fileno(), other_end.fileno())
        other_end.send(b"new")
        await expect(again, b"new")
        again.close()


async def test_a_stream_whose_data_never_ends_lets_others_run(pair):
    stream, theirs = pair
    theirs.send(b"x" * 4 * BURST)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(4 * BURST):
            await stream.receive(1)
        nursery.cancel_scope.cancel()
    assert turns > 1


async def test_one_readiness_serves_a_run():
    assert readiness.current() is readiness.current()
