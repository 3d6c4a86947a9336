import fcntl
import os
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.core.units import MIB
from proxyd.net.reaper import Reaper
from proxyd.net.relay import PIPE_BYTES, Pipes, Tally, relay
from proxyd.net.stream import Stream
from proxyd.net.tls import client_context, client_stream, server_context, server_stream
from tests.lab.plane import PATIENCE, leaf, roots

HOST = "origin.example"
IDLE = 60.0


class Joined:
    """A relay between two pairs; ``client`` and ``upstream`` are the far ends."""

    def __init__(self, client, near_client, near_upstream, upstream, pipes):
        self.client = client
        self.upstream = upstream
        self.near = (near_client, near_upstream)
        self.pipes = pipes
        self.tally = Tally()
        self.why = None
        self.over = trio.Event()

    async def run(self):
        self.why = await relay(*self.near, IDLE, self.pipes, self.tally)
        for stream in self.near:
            stream.close()
        self.over.set()

    async def ended(self):
        with trio.fail_after(PATIENCE):
            await self.over.wait()
        return self.why


def pair(kind):
    if kind == "unix":
        ends = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            ends = (near, listener.accept()[0])
    for sock in ends:
        sock.setblocking(False)
    return ends


async def tls_pair():
    near, far = pair("tcp")
    made = leaf(HOST)
    server = server_stream(near, server_context(made.chain_pem, made.key_pem), b"")
    client = client_stream(far, client_context(roots()), HOST, is_ip=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    return server, client


@pytest.fixture
async def join(nursery):
    """Start relays; all ends are closed afterwards."""
    streams = []
    pools = []

    async def start(kind="tcp", pipes=16):
        pool = Pipes(pipes)
        pools.append(pool)
        if kind == "tls":
            near_client, client = await tls_pair()
        else:
            near_client, client = map(Stream, pair(kind))
        near_upstream, upstream = map(Stream, pair("tcp"))
        streams.extend((near_client, client, near_upstream, upstream))
        joined = Joined(client, near_client, near_upstream, upstream, pool)
        nursery.start_soon(joined.run)
        return joined

    yield start
    for stream in streams:
        stream.close()
    await wait_all_tasks_blocked()
    for pool in pools:
        for descriptors in pool._free:
            for descriptor in descriptors:
                os.close(descriptor)


async def read_all(stream):
    received = bytearray()
    with trio.fail_after(PATIENCE):
        while piece := await stream.receive():
            received += piece
    return bytes(received)


async def send_all(stream, data):
    await stream.send(data)
    stream.shut_write()


BULK = os.urandom(MIB) * 3 + b"the end"


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("pipes", [0, 16])
async def test_bulk_both_ways_at_once_arrives_whole_and_is_counted(join, nursery, kind, pipes):
    joined = await join(kind, pipes)
    up, down = BULK, BULK[::-1]
    got = {}

    async def read(name, stream):
        got[name] = await read_all(stream)

    async with trio.open_nursery() as both:
        both.start_soon(send_all, joined.client, up)
        both.start_soon(send_all, joined.upstream, down)
        both.start_soon(read, "up", joined.upstream)
        both.start_soon(read, "down", joined.client)
    assert await joined.ended() == "eof"
    assert got == {"up": up, "down": down}
    assert (joined.tally.up, joined.tally.down) == (len(up), len(down))


async def test_the_end_of_one_direction_leaves_the_other_open(join):
    joined = await join()
    await send_all(joined.client, b"question")
    assert await read_all(joined.upstream) == b"question"
    await joined.upstream.send(b"a late ")
    await joined.upstream.send(b"answer")
    assert not joined.over.is_set()
    joined.upstream.shut_write()
    assert await read_all(joined.client) == b"a late answer"
    assert await joined.ended() == "eof"
    assert (joined.tally.up, joined.tally.down) == (8, 13)


async def test_a_tunnel_without_bytes_ends_after_its_idle_time(join, nursery, autojump_clock):
    reaper = Reaper()
    joined = await join()
    for stream in joined.near:
        reaper.add(stream)
    nursery.start_soon(reaper.run)
    began = trio.current_time()
    await joined.over.wait()
    assert joined.why == "idle"
    assert IDLE <= trio.current_time() - began <= IDLE + 1.0
    nursery.cancel_scope.cancel()


async def test_bytes_of_either_side_keep_both_directions_alive(join, nursery, autojump_clock):
    reaper = Reaper()
    joined = await join()
    for stream in joined.near:
        reaper.add(stream)
    nursery.start_soon(reaper.run)
    for _ in range(5):
        await trio.sleep(IDLE * 0.8)
        await joined.upstream.send(b"tick")
        assert await joined.client.receive() == b"tick"
    assert not joined.over.is_set()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("side", [0, 1])
async def test_a_drain_that_closes_one_stream_ends_the_relay_and_says_so(join, side):
    joined = await join()
    await wait_all_tasks_blocked()
    joined.near[side].expire("drain")
    assert await joined.ended() == "drain"


async def test_a_reset_ends_the_relay_with_the_transports_words(join):
    joined = await join()
    await wait_all_tasks_blocked()
    joined.upstream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    joined.upstream.close()
    assert await joined.ended() == "Connection reset by peer"


async def test_a_drain_within_a_splice_ends_the_relay_and_loses_no_pipe(join, nursery):
    joined = await join()
    sender = trio.CancelScope()

    async def send_for_ever():
        with sender:
            await joined.client.send(b"x" * 64 * MIB)

    nursery.start_soon(send_for_ever)
    received = 0
    while received < 8 * MIB:
        received += len(await joined.upstream.receive())
    sender.cancel()
    await wait_all_tasks_blocked()  # nobody reads: the splice waits for room
    joined.near[1].expire("drain")
    assert await joined.ended() == "drain"
    assert joined.pipes._left + len(joined.pipes._free) == 16


def test_pipes_run_out_at_their_number_and_come_back():
    pipes = Pipes(1)
    first = pipes.borrow()
    assert first is not None
    assert pipes.borrow() is None
    pipes.give_back(first, empty=True)
    assert pipes.borrow() == first
    pipes.give_back(first, empty=False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first[0])
    again = pipes.borrow()
    assert again is not None
    pipes.give_back(again, empty=False)


def test_a_pipe_is_non_blocking_and_at_most_as_large_as_wanted():
    pipes = Pipes(1)
    reader, writer = pipes.borrow()
    assert not os.get_blocking(reader)
    assert not os.get_blocking(writer)
    assert fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) <= PIPE_BYTES
    pipes.give_back((reader, writer), empty=False)
