"""The bridge: bytes both ways, a bound, and words for a client when nobody listens."""

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.lowlevel

from proxyd.cli.bridge import Bridge, bind, is_loopback, url

PATIENCE = 15.0


async def upper(stream: trio.SocketStream) -> None:
    """Answer in capitals until the client's end, then end."""
    async with stream:
        async for data in stream:
            await stream.send_all(data.upper())


@contextlib.asynccontextmanager
async def open_bridge(path: str, most: int = 10) -> AsyncIterator[tuple[Bridge, int]]:
    """A bridge to ``path`` on a port of the kernel's choice."""
    sock = bind(("127.0.0.1", 0))
    bridge = Bridge(path, most)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.run, sock)
            yield bridge, sock.getsockname()[1]
            nursery.cancel_scope.cancel()
    assert sock.fileno() == -1


@contextlib.asynccontextmanager
async def open_server(path: str) -> AsyncIterator[None]:
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(path)
    listener.listen(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, upper, [trio.SocketListener(listener)])
        yield
        nursery.cancel_scope.cancel()


async def rest(stream: trio.SocketStream) -> bytes:
    return b"".join([data async for data in stream])


async def test_bytes_are_carried_both_ways_and_half_closes_too(tmp_path):
    path = str(tmp_path / "s")
    async with open_server(path), open_bridge(path) as (bridge, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        body = b"abc" * 100_000
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(body)
                await stream.send_eof()

            nursery.start_soon(send)
            assert await rest(stream) == body.upper()
        assert bridge.active <= 1


async def test_one_connection_too_many_is_closed_and_a_place_comes_free(tmp_path):
    path = str(tmp_path / "s")
    async with open_server(path), open_bridge(path, most=1) as (bridge, port):
        first = await trio.open_tcp_stream("127.0.0.1", port)
        await first.send_all(b"a")
        assert await first.receive_some() == b"A"
        second = await trio.open_tcp_stream("127.0.0.1", port)
        assert await rest(second) == b""
        await first.send_eof()
        assert await rest(first) == b""
        while bridge.active:
            await trio.lowlevel.checkpoint()
        third = await trio.open_tcp_stream("127.0.0.1", port)
        await third.send_all(b"c")
        assert await third.receive_some() == b"C"
        await third.aclose()


@pytest.mark.parametrize(("made", "words"), [(False, b"No such file"), (True, b"Connection refused")])
async def test_a_client_is_told_that_nobody_listens(tmp_path, made, words):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        if made:
            dead.bind(path)
        async with open_bridge(path) as (_, port):
            answer = await rest(await trio.open_tcp_stream("127.0.0.1", port))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert words in answer


def test_the_url_is_what_http_proxy_wants():
    with bind(("127.0.0.1", 0)) as sock:
        assert url(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(OSError, match="in use"):
            bind(sock.getsockname())


def test_a_port_that_other_machines_reach_is_known():
    with bind(("127.0.0.1", 0)) as near, bind(("0.0.0.0", 0)) as far:
        assert is_loopback(near)
        assert not is_loopback(far)
