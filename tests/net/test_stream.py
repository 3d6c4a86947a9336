"""One conformance suite for every stream: plain, TLS on the descriptor and on memory BIOs, by either library."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from proxyd.net.alpn import HTTP1, HTTP2, AlpnStream, MemoryAlpnStream, alpn_context, alpn_stream
from proxyd.net.stream import BURST, NEVER, Broken, Late, Stream, StreamError
from proxyd.net.tls import TlsStream, client_context, client_stream, server_context, server_stream
from tests.lab.plane import leaf, roots

HOST = "origin.example"

Pair = tuple[Stream, Stream]


def sockets() -> tuple[socket.socket, socket.socket]:
    """A TCP connection over loopback, both ends non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


async def plain() -> Pair:
    near, far = sockets()
    return Stream(near), Stream(far)


async def shake(client: TlsStream, server: TlsStream) -> Pair:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    return client, server


async def tls_client() -> Pair:
    near, far = sockets()
    made = leaf(HOST)
    server = server_stream(far, server_context(made.chain_pem, made.key_pem), b"")
    return await shake(client_stream(near, client_context(roots()), HOST, is_ip=False), server)


async def tls_server() -> Pair:
    client, server = await tls_client()
    return server, client


async def memory_server() -> Pair:
    """The near end was given its hello from a buffer."""
    near, far = sockets()
    made = leaf(HOST)
    client = client_stream(near, client_context(roots()), HOST, is_ip=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        await trio.lowlevel.wait_readable(far)
        server = server_stream(far, server_context(made.chain_pem, made.key_pem), far.recv(100))
        await server.handshake()
    return server, client


async def alpn_server() -> Pair:
    near, far = sockets()
    made = leaf(HOST)
    server = alpn_stream(near, alpn_context(made.chain_pem, made.key_pem, [HTTP2, HTTP1]), b"")
    assert isinstance(server, AlpnStream)
    client, _ = await shake(client_stream(far, client_context(roots()), HOST, is_ip=False), server)
    assert server.protocol == HTTP1
    return server, client


async def memory_alpn_server() -> Pair:
    """The near end was given its hello from a buffer."""
    near, far = sockets()
    made = leaf(HOST)
    client = client_stream(near, client_context(roots()), HOST, is_ip=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        await trio.lowlevel.wait_readable(far)
        server = alpn_stream(far, alpn_context(made.chain_pem, made.key_pem, [HTTP2, HTTP1]), far.recv(100))
        await server.handshake()
    assert isinstance(server, MemoryAlpnStream)
    return server, client


MAKERS = [plain, tls_client, tls_server, memory_server, alpn_server, memory_alpn_server]


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    make: Callable[[], Awaitable[Pair]] = request.param
    near, far = await make()
    yield near, far
    near.close()
    far.close()


async def read_all(stream: Stream, size: int) -> bytes:
    got = b""
    while len(got) < size:
        data = await stream.receive_ready()
        assert data
        got += data
    return got


async def test_bytes_arrive_in_order_whatever_their_number(pair: Pair) -> None:
    near, far = pair
    sent = os.urandom(3_000_000)
    for source, sink in ((near, far), (far, near)):
        got = b""

        async def collect(sink: Stream = sink) -> None:
            nonlocal got
            got = await read_all(sink, len(sent))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            await source.send(sent)
        assert got == sent


async def test_both_ways_at_once(pair: Pair) -> None:
    sent = os.urandom(1_000_000)
    async with trio.open_nursery() as nursery:
        for stream in pair:
            nursery.start_soon(stream.send, sent)
            nursery.start_soon(read_all, stream, len(sent))


async def test_sent_counts_plain_bytes(pair: Pair) -> None:
    near, far = pair
    before = near.sent
    await near.send(b"x" * 1000)
    await near.send(b"y")
    assert near.sent - before == 1001
    await read_all(far, 1001)


async def test_receive_waits_for_data(pair: Pair, autojump_clock: trio.testing.MockClock) -> None:
    near, far = pair
    with trio.move_on_after(5) as scope:
        await near.receive()
    assert scope.cancelled_caught
    await far.send(b"later")
    assert await near.receive() == b"later"


async def test_receive_nowait_tells_nothing_from_the_end(pair: Pair) -> None:
    near, far = pair
    assert near.receive_nowait() is None
    await far.send(b"a")
    await trio.lowlevel.wait_readable(near.sock)
    assert near.receive_nowait() == b"a"
    assert near.receive_nowait() is None
    far.shut_write()
    await trio.lowlevel.wait_readable(near.sock)
    assert await near.receive() == b""
    assert near.receive_nowait() == b""


async def test_fin_is_the_end_of_one_direction_only(pair: Pair) -> None:
    near, far = pair
    far.shut_write()
    assert await near.receive() == b""
    assert await near.receive_ready() == b""
    await near.send(b"still")
    assert await far.receive() == b"still"


async def test_data_that_is_there_when_our_side_ends_is_still_read(pair: Pair) -> None:
    near, far = pair
    await far.send(b"a" * 1000)
    await far.send(b"b" * 1000)
    await trio.lowlevel.wait_readable(near.sock)
    near.shut_write()
    assert await far.receive() == b""
    await far.send(b"c" * 100)
    far.shut_write()
    assert await read_all(near, 2100) == b"a" * 1000 + b"b" * 1000 + b"c" * 100
    assert await near.receive() == b""
    near.shut_write()


async def test_a_closed_stream_tells_the_reason_to_whoever_waits(pair: Pair) -> None:
    near, _ = pair
    heard = []

    async def wait() -> None:
        with pytest.raises(Late) as caught:
            await near.receive()
        heard.append(caught.value.reason)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        near.expire("total")
    assert heard == ["total"]
    assert near.ended == "total"


async def test_a_writer_that_waits_for_room_is_told_as_well(pair: Pair) -> None:
    near, _ = pair

    async def fill() -> None:
        with pytest.raises(Late, match="stall"):
            await near.send(bytes(50_000_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await trio.testing.wait_all_tasks_blocked()
        near.expire("stall")


async def test_nothing_touches_a_closed_streams_descriptor_again(pair: Pair) -> None:
    """Its number belongs to another connection by then: neither may its bytes be read nor others sent."""
    near, far = pair
    await far.send(b"for the closed one")
    mine, theirs = socket.socketpair()
    number = near.sock.fileno()
    near.expire("abandoned")
    try:
        os.dup2(mine.fileno(), number)  # what the kernel does when the next connection comes
        theirs.send(b"of another connection")
        for use in (near.receive, near.receive_ready):
            with pytest.raises(Late, match="abandoned"):
                await use()
        with pytest.raises(Late, match="abandoned"):
            near.receive_nowait()
        with pytest.raises(Late, match="abandoned"):
            await near.send(b"stray")
        assert not near.is_alive()
        near.shut_write()
        near.close()
        mine.setblocking(False)
        theirs.setblocking(False)
        assert mine.recv(100) == b"of another connection"
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
    finally:
        os.close(number)
        mine.close()
        theirs.close()


async def test_closing_twice_keeps_the_first_reason(pair: Pair) -> None:
    near, _ = pair
    near.expire("idle")
    near.close()
    assert near.ended == "idle"
    assert near.sock.fileno() == -1


async def test_a_reset_is_a_failure_and_not_an_end(pair: Pair) -> None:
    near, far = pair
    far.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.sock.close()
    with pytest.raises(Broken):
        await near.receive()


async def test_long_runs_let_other_tasks_run(pair: Pair) -> None:
    near, far = pair
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        turns = 0
        for _ in range(BURST * 4):
            await near.send(b"x")
        assert turns >= 3
        await read_all(far, BURST * 4)
        nursery.cancel_scope.cancel()


async def test_liveness_is_silence_on_an_open_connection() -> None:
    for make in (plain, tls_client, alpn_server):
        near, far = await make()
        if make is tls_client:
            await trio.lowlevel.wait_readable(near.sock)  # session tickets, which are not data
        assert near.is_alive()
        await far.send(b"unasked")
        await trio.lowlevel.wait_readable(near.sock)
        assert not near.is_alive()
        near.close()
        far.close()
        near, far = await make()
        far.close()
        await trio.lowlevel.wait_readable(near.sock)
        assert not near.is_alive()
        near.close()


async def test_the_deadline_of_a_wait_for_room_is_put_back() -> None:
    near, far = await plain()
    near.deadline, near.late, near.stall = 1e12, "total", 60.0
    seen = []

    async def drain() -> None:
        await trio.testing.wait_all_tasks_blocked()
        seen.append((near.deadline < 1e12, near.late))
        await read_all(far, 20_000_000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await near.send(bytes(20_000_000))
    assert seen == [(True, "stall")]
    assert (near.deadline, near.late) == (1e12, "total")
    near.close()
    far.close()


async def test_repr_shows_state_and_nothing_of_the_bytes() -> None:
    near, far = await plain()
    assert "ended=None" in repr(near)
    assert near.deadline == NEVER
    near.expire("drain")
    assert "ended='drain'" in repr(near)
    far.close()
    assert issubclass(Late, StreamError)
