"""Lanes over one stream, with an engine that frames nothing."""

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from proxyd.net.lane import CANCEL, Lane
from proxyd.net.multiplex import Multiplex
from proxyd.net.stream import Late, Stream

FRAME = 100


class Engine:
    """Records what is queued; a window per stream."""

    def __init__(self) -> None:
        self.out: list[tuple[int, bytes, bool]] = []
        self.windows: dict[int, int] = {}
        self.returned: dict[int, int] = {}
        self.resets: list[tuple[int, int]] = []
        self.order: list[int] = []

    def take(self) -> bytes:
        out, self.out = self.out, []
        return b"".join(data for _, data, _ in out)

    def room(self, stream: int) -> int:
        return min(FRAME, self.windows.get(stream, 1_000_000))

    def data(self, stream: int, data: bytes | memoryview, *, ended: bool) -> None:
        if stream in self.windows:
            self.windows[stream] -= len(data)
        self.order.append(stream)
        self.out.append((stream, bytes(data), ended))

    def credit(self, stream: int, size: int) -> bool:
        self.returned[stream] = self.returned.get(stream, 0) + size
        return False

    def forget(self, stream: int) -> None:
        pass

    def reset(self, stream: int, code: int) -> None:
        self.resets.append((stream, code))


class Side:
    """A multiplexed connection and the socket at its other end."""

    def __init__(self, output_bytes: int = 1000) -> None:
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        self.engine = Engine()
        self.peer = trio.socket.from_stdlib_socket(theirs)
        self.stream = Stream(ours)
        self.multiplex = Multiplex(self.stream, self.engine, output_bytes)

    def lane(self, number: int) -> Lane:
        lane = Lane(self.multiplex, number)
        self.multiplex.add(lane)
        return lane


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    made = Side()
    yield made
    made.stream.close()
    made.peer.close()


async def test_pieces_are_read_in_order_and_their_credit_goes_back_when_taken(side: Side) -> None:
    lane = side.lane(1)
    lane.arrive(b"ab", 5, ended=False)
    lane.arrive(b"c", 1, ended=False)
    lane.arrive(bytes(5000), 5000, ended=True)
    assert side.engine.returned == {}
    assert lane.held == 5003
    assert await lane.receive() == b"abc"
    assert side.engine.returned == {1: 6}
    assert await lane.receive() == bytes(5000)
    assert await lane.receive() == b""
    assert side.engine.returned == {1: 5006}


async def test_small_pieces_are_put_together_while_they_wait(side: Side) -> None:
    lane = side.lane(1)
    for number in range(10_000):
        lane.arrive(b"%05d" % number, 6, ended=False)
    assert len(lane._pieces) < 15
    assert lane.held == 50_000
    first = await lane.receive()
    assert first.startswith(b"000000000100002")
    assert side.engine.returned == {1: len(first) // 5 * 6}


async def test_a_reader_waits_and_is_told_why_a_lane_failed(side: Side, nursery: trio.Nursery) -> None:
    lane = side.lane(1)
    nursery.start_soon(lane.receive)
    await trio.testing.wait_all_tasks_blocked()
    lane.arrive(b"x", 1, ended=False)
    await trio.testing.wait_all_tasks_blocked()
    lane.fail("reset", 2)
    with pytest.raises(Late, match="reset"):
        await lane.receive()
    assert lane.code == 2
    assert side.multiplex.lanes == {}


async def test_what_nobody_will_take_is_given_back(side: Side) -> None:
    lane = side.lane(1)
    lane.arrive(b"abc", 3, ended=False)
    lane.expire("abandoned")
    lane.arrive(b"de", 2, ended=True)
    assert side.engine.returned == {1: 5}
    assert side.engine.resets == [(1, CANCEL)]
    lane.expire("again")
    assert side.engine.resets == [(1, CANCEL)]


async def test_lanes_take_turns_frame_by_frame(side: Side) -> None:
    lanes = [side.lane(number) for number in (1, 3, 5)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.multiplex.run_writer)
        async with trio.open_nursery() as senders:
            for lane in lanes:
                senders.start_soon(lambda lane=lane: lane.send(bytes(20 * FRAME), ended=True))
        side.multiplex.finish()
    order = side.engine.order
    assert len(order) == 60
    for sent in range(1, 61):  # whoever is alone for a moment, while the others come back, has a turn of four frames
        counts = [order[:sent].count(number) for number in (1, 3, 5)]
        assert max(counts) - min(counts) <= 8
    assert order[:4] == [order[0]] * 4


async def test_a_closed_window_holds_up_its_own_lane_alone(side: Side, nursery: trio.Nursery) -> None:
    side.engine.windows[1] = 10
    slow, fast = side.lane(1), side.lane(3)
    nursery.start_soon(side.multiplex.run_writer)
    nursery.start_soon(slow.send, bytes(30))
    await fast.send(bytes(3 * FRAME))
    await trio.testing.wait_all_tasks_blocked()
    assert side.engine.order.count(1) == 1
    side.engine.windows[1] = 1000
    side.multiplex.opened(3)
    await trio.testing.wait_all_tasks_blocked()
    assert side.engine.order.count(1) == 1
    side.multiplex.opened(1)
    await trio.testing.wait_all_tasks_blocked()
    assert side.engine.order.count(1) == 2
    nursery.cancel_scope.cancel()


async def test_while_the_peer_takes_nothing_output_is_bounded_and_reading_stops(nursery: trio.Nursery) -> None:
    side = Side(output_bytes=100_000)
    side.engine.windows = {}
    lane = side.lane(1)
    nursery.start_soon(side.multiplex.run_writer)
    nursery.start_soon(lane.send, bytes(10_000_000))
    await trio.testing.wait_all_tasks_blocked()
    queued = sum(len(data) for _, data, _ in side.engine.out)
    assert queued < 300_000
    taken = 0

    async def read() -> None:
        nonlocal taken
        while True:
            taken += len(await side.multiplex.read())

    nursery.start_soon(read)
    for _ in range(20):
        try:
            side.peer._sock.send(bytes(50_000))
        except BlockingIOError:
            break
        await trio.testing.wait_all_tasks_blocked()
    assert 100_000 <= taken < 400_000
    nursery.cancel_scope.cancel()
    side.stream.close()
    side.peer.close()


async def test_the_reapers_deadline_survives_a_send_that_waited(side: Side, nursery: trio.Nursery) -> None:
    side.stream.stall = 5
    lane = side.lane(1)
    nursery.start_soon(side.multiplex.run_writer)
    nursery.start_soon(lane.send, bytes(1_000_000))
    await trio.testing.wait_all_tasks_blocked()
    side.multiplex.arm(123.0, "idle")
    assert side.stream.late == "stall"
    while lane.sent < 1_000_000:
        await side.peer.recv(1_000_000)
    with trio.move_on_after(0.05):
        while True:
            await side.peer.recv(1_000_000)
    assert (side.stream.deadline, side.stream.late) == (123.0, "idle")
    nursery.cancel_scope.cancel()


async def test_the_end_of_the_connection_is_the_end_of_every_lane(side: Side) -> None:
    lanes = [side.lane(number) for number in (1, 3)]
    side.multiplex.fail("closed")
    for lane in lanes:
        with pytest.raises(Late, match="closed"):
            await lane.send(b"x")


async def test_a_flush_writes_at_once_and_leaves_the_rest_to_the_writer(side: Side) -> None:
    lane = side.lane(1)
    await lane.send(b"now")
    side.multiplex.flush()
    assert await side.peer.recv(100) == b"now"
    sent = b"now"
    while not side.multiplex._rest:
        await side.lane(3).send(bytes(FRAME))
        sent += bytes(FRAME)
        side.multiplex.flush()
    await lane.send(b"last", ended=True)
    side.multiplex.flush()
    side.multiplex.finish()
    got = b"now"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.multiplex.run_writer)
        while len(got) < len(sent) + 4:
            got += await side.peer.recv(1_000_000)
    assert got == sent + b"last"
