import contextlib
import fcntl
import gc
import os
import socket
import struct

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxyd.net.frames import FrameLink
from proxyd.net.framing import MAX_FDS, FrameReader, LinkClosed, frame_header, receive_chunk


def framed(payload):
    return struct.pack(">I", len(payload)) + payload


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    yield left, right
    left.close()
    right.close()


@pytest.fixture
def links(pair):
    return FrameLink(pair[0], 1 << 20), FrameLink(pair[1], 1 << 20)


@contextlib.contextmanager
def no_new_descriptors():
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def pipe_ends():
    read, write = os.pipe()
    os.close(write)
    return read


# --- FrameReader ----------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(1, 9), max_size=60))
def test_any_chunking_gives_the_same_payloads(payloads, sizes):
    stream = b"".join(map(framed, payloads))
    reader = FrameReader(40)
    got = []
    for size in sizes:
        got += reader.feed(stream[:size])
        stream = stream[size:]
    got += reader.feed(stream)
    assert got == payloads
    assert reader.violation is None
    assert not reader.is_midway


@pytest.mark.parametrize("size", [0, 41, 0xFFFFFFFF])
@pytest.mark.parametrize("at_once", [True, False])
def test_frames_before_a_violation_are_delivered(size, at_once):
    stream = framed(b"good") + struct.pack(">I", size) + framed(b"never")
    reader = FrameReader(40)
    chunks = [stream] if at_once else [stream[i : i + 1] for i in range(len(stream))]
    got = [payload for chunk in chunks for payload in reader.feed(chunk)]
    assert got == [b"good"]
    assert f"a frame of {size} bytes" in reader.violation


def test_descriptors_are_taken_in_order_and_the_rest_is_closed():
    reader = FrameReader(40)
    with no_new_descriptors():
        fds = [pipe_ends() for _ in range(3)]
        reader.feed(framed(b"a"), fds)
        assert reader.take_fds(2) == fds[:2]
        with pytest.raises(ValueError, match="2 descriptors were expected, 1 came"):
            reader.take_fds(2)
        os.close(fds[0])
        os.close(fds[1])
        reader.close()


def test_descriptors_that_pile_up_are_a_violation_and_closed():
    reader = FrameReader(40)
    with no_new_descriptors():
        for _ in range(2 * MAX_FDS + 1):
            reader.feed(b"\0", [pipe_ends()]) if reader.violation is None else None
            if reader.violation:
                break
        reader.close()
    assert reader.violation


def test_a_reader_that_wants_no_descriptors_closes_them():
    reader = FrameReader(40, accepts_fds=False)
    with no_new_descriptors():
        assert reader.feed(framed(b"a"), [pipe_ends()]) == []
    assert reader.violation == "descriptors that no frame claims"


# --- FrameLink ------------------------------------------------------------------------------------


async def test_payloads_arrive_in_order(links):
    left, right = links
    for payload in (b"one", b"two" * 1000):
        await left.send(payload)
    assert await right.receive() == b"one"
    assert await right.receive() == b"two" * 1000


async def test_concurrent_frames_never_interleave(links):
    left, right = links
    payloads = [bytes([n]) * 300_000 for n in range(5)]
    async with trio.open_nursery() as nursery:
        for payload in payloads:
            nursery.start_soon(left.send, payload)
        got = [await right.receive() for _ in payloads]
    assert sorted(got) == payloads


async def test_descriptors_travel_with_their_frame_and_are_cloexec(links):
    left, right = links
    read, write = os.pipe()
    await left.send(b"x", [read, write])
    await left.send(b"y")
    await left.send(b"z", [read])
    for fd in (read, write):
        os.close(fd)
    assert await right.receive() == b"x"
    got = right.take_fds(2)
    assert await right.receive() == b"y"
    assert await right.receive() == b"z"
    got += right.take_fds(1)
    os.write(got[1], b"hello")
    assert os.read(got[2], 5) == b"hello"
    for fd in got:
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(fd)


async def test_the_most_descriptors_that_a_frame_carries(links):
    left, right = links
    await left.send(b"x", [0] * MAX_FDS)
    await right.receive()
    for fd in right.take_fds(MAX_FDS):
        os.close(fd)
    with pytest.raises(ValueError, match="at most 250 descriptors, not 251"):
        await left.send(b"x", [0] * (MAX_FDS + 1))


async def test_taking_more_descriptors_than_came_closes_the_link(links):
    left, right = links
    await left.send(b"x", [0])
    await right.receive()
    with pytest.raises(LinkClosed, match="2 descriptors were expected, 1 came"):
        right.take_fds(2)
    assert right.is_closed


async def test_descriptors_never_leak_when_the_link_closes(links):
    left, right = links
    await left.send(b"x", [0, 1, 2])
    before = len(os.listdir("/proc/self/fd"))
    await right.receive()
    assert len(os.listdir("/proc/self/fd")) == before + 3
    right.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


async def test_unwanted_descriptors_close_the_link(pair):
    right = FrameLink(pair[1], 100, accepts_fds=False)
    socket.send_fds(pair[0], [framed(b"x")], [0])
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LinkClosed, match="descriptors"):
        await right.receive()
    assert len(os.listdir("/proc/self/fd")) == before - 1


async def test_a_frame_over_the_limit_closes_the_link_after_the_frames_before_it(pair):
    right = FrameLink(pair[1], 100)
    pair[0].send(framed(b"good") + framed(b"x" * 101))
    assert await right.receive() == b"good"
    with pytest.raises(LinkClosed, match="a frame of 101 bytes, allowed are 1 to 100"):
        await right.receive()
    assert pair[0].recv(10) == b""


@pytest.mark.parametrize("size", [0, 101])
async def test_a_frame_that_no_peer_accepts_is_not_sent(pair, size):
    left = FrameLink(pair[0], 100, max_send=100)
    with pytest.raises(ValueError, match=f"a frame holds 1 to 100 bytes, not {size}"):
        await left.send(b"x" * size)
    assert not left.is_closed


async def test_the_end_of_the_peer_closes_the_link(links):
    left, right = links
    await left.send(b"last")
    left.close()
    assert await right.receive() == b"last"
    with pytest.raises(LinkClosed, match=r"the peer closed the link$"):
        await right.receive()
    with pytest.raises(LinkClosed):
        await right.send(b"x")


async def test_the_end_within_a_frame_is_said(pair):
    right = FrameLink(pair[1], 100)
    pair[0].send(framed(b"cut")[:5])
    pair[0].close()
    with pytest.raises(LinkClosed, match="in the middle of a frame"):
        await right.receive()


async def test_sending_to_a_peer_that_is_gone_raises(links):
    left, right = links
    right.close()
    with pytest.raises(LinkClosed, match="the peer is gone"):
        await left.send(b"x")


async def test_closing_wakes_receiver_and_senders(links):
    left, _ = links
    woken = []

    async def expect_closed(call, *arguments):
        with pytest.raises(LinkClosed, match="closed on this side"):
            await call(*arguments)
        woken.append(call)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed, left.receive)
        nursery.start_soon(expect_closed, left.send, b"x" * (1 << 20))
        nursery.start_soon(expect_closed, left.send, b"y" * (1 << 20))  # whichever goes first fills the socket
        await trio.testing.wait_all_tasks_blocked()
        left.close()
    assert len(woken) == 3
    left.close()


async def test_a_cancelled_receive_loses_nothing(links):
    left, right = links
    await left.send(b"one")
    await left.send(b"two")
    assert await right.receive() == b"one"
    with trio.CancelScope() as scope:
        scope.cancel()
        await right.receive()
    assert await right.receive() == b"two"


async def test_a_send_cancelled_before_its_first_byte_leaves_the_link_whole(links):
    left, right = links
    with trio.CancelScope() as scope:
        scope.cancel()
        await left.send(b"never")
    assert scope.cancelled_caught
    await left.send(b"next")
    assert await right.receive() == b"next"


async def test_a_send_cancelled_midway_closes_the_link(links):
    left, right = links
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send, b"x" * (1 << 20))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert left.is_closed
    with pytest.raises(LinkClosed, match="a frame was cut short"):
        await left.send(b"next")
    with pytest.raises(LinkClosed, match="in the middle of a frame"):
        await right.receive()


async def test_a_link_is_made_of_a_descriptor(pair):
    link = FrameLink.from_fd(os.dup(pair[0].fileno()), 100)
    pair[1].send(framed(b"x"))
    assert await link.receive() == b"x"
    assert "open" in repr(link)
    link.close()
    assert "closed on this side" in repr(link)


def test_a_chunk_and_a_header_need_no_loop(pair):
    pair[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        receive_chunk(pair[1], accepts_fds=True)
    pair[0].send(frame_header(b"abc", (), 10) + b"abc")
    assert receive_chunk(pair[1], accepts_fds=True) == (framed(b"abc"), [])
