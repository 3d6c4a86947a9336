"""The reaper: deadlines that passed, clients that left, and nothing else."""

import socket
from collections.abc import Iterator

import pytest
import trio

from proxyd.net.reaper import SWEEP, Reaper
from proxyd.net.stream import NEVER, Late, Stream

Ends = tuple[Stream, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    near, far = socket.socketpair()
    near.setblocking(False)
    stream = Stream(near)
    yield stream, far
    stream.sock.close()
    far.close()


def test_a_stream_past_its_deadline_is_closed_for_its_reason(ends: Ends) -> None:
    async def main() -> None:
        stream, _ = ends
        reaper = Reaper()
        reaper.add(stream)
        stream.deadline, stream.late = 100.0, "first_byte"
        reaper.sweep(99.9)
        assert stream.ended is None
        reaper.sweep(100.0)
        assert stream.ended == "first_byte"
        assert len(reaper) == 1
        reaper.sweep(101.0)
        assert len(reaper) == 0

    trio.run(main)


async def test_a_waiter_is_woken_within_a_sweep(ends: Ends, autojump_clock: trio.testing.MockClock) -> None:
    stream, _ = ends
    reaper = Reaper()
    reaper.add(stream)
    stream.deadline, stream.late = trio.current_time() + 10, "idle"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reaper.run)
        with pytest.raises(Late, match="idle"):
            await stream.receive()
        assert 10 <= trio.current_time() <= 10 + SWEEP
        nursery.cancel_scope.cancel()


def test_a_peers_end_is_noticed_in_an_exchange_that_is_older_than_a_sweep(ends: Ends) -> None:
    stream, far = ends
    heard = []
    reaper = Reaper()
    reaper.add(stream)
    stream.hangup = lambda: heard.append("gone")
    stream.busy_since = 100.0
    far.send(b"more bytes")
    reaper.sweep(101.0)
    assert heard == [], "bytes are no end"
    far.shutdown(socket.SHUT_WR)
    reaper.sweep(100.1)
    assert heard == [], "younger than a sweep"
    reaper.sweep(101.0)
    assert heard == ["gone"]
    stream.busy_since = NEVER
    reaper.sweep(102.0)
    assert heard == ["gone"], "no exchange runs"
    assert stream.ended is None, "what to do is the exchange's own business"
    assert stream.receive_nowait() == b"more bytes", "nothing was read away"


def test_a_hangup_may_close_other_streams_of_the_same_sweep() -> None:
    reaper = Reaper()
    pairs = [socket.socketpair() for _ in range(3)]
    streams = [Stream(near) for near, _ in pairs]

    async def main() -> None:
        for stream in streams:
            stream.busy_since = 0.0
            stream.hangup = lambda: [other.expire("abandoned") for other in streams] and None
            reaper.add(stream)
        for _, far in pairs:
            far.close()
        reaper.sweep(10.0)
        assert [stream.ended for stream in streams] == ["abandoned"] * 3
        reaper.sweep(11.0)
        assert len(reaper) == 0

    trio.run(main)
