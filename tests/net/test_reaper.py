import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.net.reaper import SWEEP, Reaper
from proxyd.net.stream import Late, Stream


@pytest.fixture
async def ends():
    near, far = socket.socketpair()
    near.setblocking(False)
    stream = Stream(near)
    yield stream, far
    stream.close()
    far.close()


@pytest.fixture
def reaper():
    return Reaper()


async def test_a_late_stream_is_closed_and_its_waiter_told_why(reaper, ends, nursery, autojump_clock):
    stream, _ = ends
    reaper.add(stream)
    nursery.start_soon(reaper.run)
    stream.deadline = trio.current_time() + 2.0
    stream.late = "first_byte"
    began = trio.current_time()
    with pytest.raises(Late, match="first_byte"):
        await stream.receive()
    assert 2.0 <= trio.current_time() - began <= 2.0 + SWEEP
    nursery.cancel_scope.cancel()


async def test_a_stream_in_time_is_left_alone(reaper, ends):
    stream, _ = ends
    reaper.add(stream)
    stream.deadline = 10.0
    reaper.sweep(9.9)
    assert stream.ended is None
    reaper.sweep(10.0)
    assert stream.ended == "idle"


async def test_closed_streams_are_forgotten(reaper, ends):
    stream, _ = ends
    reaper.add(stream)
    stream.close()
    assert len(reaper) == 1
    reaper.sweep(0.0)
    assert len(reaper) == 0


async def test_a_peer_that_leaves_within_an_exchange_is_noticed(reaper, ends):
    stream, far = ends
    calls = []
    stream.hangup = lambda: calls.append("gone")
    stream.busy_since = 1.0
    reaper.add(stream)
    reaper.sweep(9.0)
    assert calls == []
    far.close()
    reaper.sweep(9.0)
    assert calls == ["gone"]
    assert stream.ended is None


async def test_bytes_before_the_fin_do_not_hide_it(reaper, ends):
    stream, far = ends
    calls = []
    stream.hangup = lambda: calls.append("gone")
    stream.busy_since = 1.0
    reaper.add(stream)
    far.send(b"the next request")
    reaper.sweep(9.0)
    assert calls == []
    far.shutdown(socket.SHUT_WR)
    reaper.sweep(9.0)
    assert calls == ["gone"]
    assert stream.receive_nowait() == b"the next request"


@pytest.mark.parametrize("busy_since", [9.0 - SWEEP / 2, float("inf")])
async def test_young_exchanges_and_idle_connections_are_not_polled(reaper, ends, busy_since):
    stream, far = ends
    calls = []
    stream.hangup = lambda: calls.append("gone")
    stream.busy_since = busy_since
    reaper.add(stream)
    far.close()
    reaper.sweep(9.0)
    assert calls == []


async def test_a_hangup_may_close_other_streams_of_the_same_sweep(reaper, ends):
    stream, far = ends
    others = socket.socketpair()
    others[0].setblocking(False)
    other = Stream(others[0])
    for one, peer in ((stream, other), (other, stream)):
        one.busy_since = 1.0
        one.hangup = peer.close
        reaper.add(one)
    far.close()
    others[1].close()
    reaper.sweep(9.0)
    assert "closed" in (stream.ended, other.ended)
    other.close()


async def test_a_send_that_nobody_takes_ends_after_its_stall(reaper, ends, nursery, autojump_clock):
    stream, _ = ends
    stream.stall = 3.0
    reaper.add(stream)
    nursery.start_soon(reaper.run)
    with pytest.raises(Late, match="stall"):
        await stream.send(b"x" * 4 * 1024 * 1024)
    nursery.cancel_scope.cancel()


async def test_a_send_that_moves_is_no_stall_and_the_deadline_is_put_back(reaper, ends, nursery, autojump_clock):
    stream, far = ends
    stream.stall = 3.0
    stream.deadline, stream.late = trio.current_time() + 1000.0, "total"
    before = stream.deadline
    reaper.add(stream)
    nursery.start_soon(reaper.run)
    far.setblocking(False)
    size = 4 * 1024 * 1024

    async def take_slowly():
        taken = 0
        while taken < size:
            await trio.sleep(2.0)
            try:
                taken += len(far.recv(256 * 1024))
            except BlockingIOError:
                continue

    nursery.start_soon(take_slowly)
    await stream.send(b"x" * size)
    assert (stream.deadline, stream.late, stream.sent) == (before, "total", size)
    await wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
