"""Two streams joined: every byte, each direction's own end, and pipes that come back empty."""

import os
import socket

import pytest
import trio

from proxyd.net import relay as relaying
from proxyd.net.reaper import Reaper
from proxyd.net.relay import Pipes, Tally, relay
from proxyd.net.stream import Stream
from tests.net.test_stream import Pair, memory_server, plain, tls_server

MIB = 1024 * 1024


class Joined:
    """client <-> (near, far) relay (far, near) <-> origin."""

    def __init__(self, client: Pair, origin: Pair, pipes: Pipes) -> None:
        self.client, self.left = client[1], client[0]
        self.right, self.origin = origin
        self.pipes = pipes
        self.tally = Tally()
        self.why = ""

    async def run(self, idle: float = 60.0) -> None:
        self.why = await relay(self.left, self.right, idle, self.pipes, self.tally)

    async def moved(self, size: int) -> None:
        """Wait until so many bytes went up."""
        with trio.fail_after(5):
            while self.tally.up < size:  # noqa: ASYNC110 - bytes move, nobody says so
                await trio.sleep(0.001)

    def close(self) -> None:
        for stream in (self.client, self.left, self.right, self.origin):
            stream.close()


async def read_to_end(stream: Stream) -> bytes:
    got = bytearray()
    while data := await stream.receive_ready():
        got += data
    return bytes(got)


@pytest.mark.parametrize("limit", [0, 1, 16], ids=["no pipe", "one pipe", "pipes"])
@pytest.mark.parametrize("make", [plain, tls_server, memory_server], ids=lambda make: make.__name__)
async def test_every_byte_arrives_both_ways_at_once(make: object, limit: int) -> None:
    joined = Joined(await make(), await plain(), Pipes(limit))  # type: ignore[operator]
    up, down = os.urandom(3 * MIB + 17), os.urandom(2 * MIB + 5)
    got: dict[str, bytes] = {}

    async def write(stream: Stream, data: bytes) -> None:
        await stream.send(data)
        stream.shut_write()

    async def read(name: str, stream: Stream) -> None:
        got[name] = await read_to_end(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(joined.run)
        nursery.start_soon(write, joined.client, up)
        nursery.start_soon(write, joined.origin, down)
        nursery.start_soon(read, "up", joined.origin)
        nursery.start_soon(read, "down", joined.client)
    assert got == {"up": up, "down": down}
    assert (joined.tally.up, joined.tally.down) == (len(up), len(down))
    assert joined.why == "eof"
    assert joined.left.ended is None, "the caller closes"
    assert joined.pipes._left + len(joined.pipes._free) == limit
    for reader, _ in joined.pipes._free:
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    joined.close()


async def test_one_direction_goes_on_after_the_others_end() -> None:
    joined = Joined(await plain(), await plain(), Pipes())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(joined.run)
        await joined.client.send(b"question")
        joined.client.shut_write()
        assert await read_to_end(joined.origin) == b"question"
        for _ in range(3):
            await joined.origin.send(b"x" * 100_000)
            got = b""
            while len(got) < 100_000:
                got += await joined.client.receive()
        joined.origin.shut_write()
        assert await joined.client.receive() == b""
    assert joined.why == "eof"
    joined.close()


async def test_silence_of_both_sides_ends_it() -> None:
    joined = Joined(await plain(), await plain(), Pipes())
    reaper = Reaper()
    reaper.add(joined.left)
    reaper.add(joined.right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reaper.run)
        await joined.run(idle=0.3)
        assert joined.why == "idle"
        nursery.cancel_scope.cancel()
    joined.close()


@pytest.mark.parametrize("side", ["client", "origin"])
async def test_a_reset_of_one_side_ends_both(side: str) -> None:
    joined = Joined(await plain(), await plain(), Pipes())
    end = getattr(joined, side)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(joined.run)
        end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.close()
    assert joined.why not in ("", "eof")
    joined.close()


@pytest.mark.parametrize("phase", ["idle", "bulk"])
async def test_a_cut_ends_it_in_every_phase_and_leaks_no_pipe(phase: str) -> None:
    joined = Joined(await plain(), await plain(), Pipes(2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(joined.run)
        if phase == "bulk":

            async def flood() -> None:
                with pytest.raises(relaying.StreamError):
                    await joined.client.send(bytes(200 * MIB))

            nursery.start_soon(flood)  # and nobody reads: the pipe is full, the splice waits for room
            await joined.moved(MIB)
        await trio.testing.wait_all_tasks_blocked()
        joined.left.expire("revoked")
        joined.right.expire("revoked")
        await trio.testing.wait_all_tasks_blocked()
        joined.client.close()
    assert joined.why == "revoked"
    assert joined.pipes._left + len(joined.pipes._free) == 2
    joined.close()


async def test_cancellation_leaks_no_pipe() -> None:
    joined = Joined(await plain(), await plain(), Pipes(2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(joined.run)
        nursery.start_soon(joined.client.send, bytes(200 * MIB))
        await joined.moved(MIB)
        nursery.cancel_scope.cancel()
    assert joined.pipes._left + len(joined.pipes._free) == 2
    for reader, _ in joined.pipes._free:
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    joined.close()


def test_pipes_are_bounded_and_a_dirty_one_is_replaced() -> None:
    pipes = Pipes(1)
    pair = pipes.borrow()
    assert pair is not None
    assert pipes.borrow() is None
    os.write(pair[1], b"left over")
    pipes.give_back(pair, empty=False)
    fresh = pipes.borrow()
    assert fresh is not None
    with pytest.raises(BlockingIOError):
        os.read(fresh[0], 1)
    pipes.give_back(fresh, empty=True)
    assert pipes.borrow() == fresh
    os.close(fresh[0])
    os.close(fresh[1])
