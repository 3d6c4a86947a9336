"""TLS by the standard library: what is chosen, and that failures read as those of the other library."""

import os
import socket
import ssl

import pytest
import trio
from OpenSSL import SSL

from proxyd.net.alpn import HTTP1, HTTP2, PROTOCOLS, alpn_context, alpn_stream
from proxyd.net.stream import Broken
from proxyd.net.tls import client_context, client_stream
from tests.lab.plane import leaf, roots
from tests.net.test_stream import HOST, sockets


def serving(*protocols: str) -> ssl.SSLContext:
    made = leaf(HOST)
    return alpn_context(made.chain_pem, made.key_pem, protocols or PROTOCOLS)


async def shake(offered: list[bytes], trusted: bytes, *, buffered: bool) -> tuple[str, str, str | None]:
    """Run both handshakes; return how the client and the server failed, and what was chosen."""
    near, far = sockets()
    context = client_context(trusted)
    context.set_alpn_protos(offered)
    client = client_stream(near, context, HOST, is_ip=False)
    if buffered:
        with pytest.raises(SSL.WantReadError):
            client.tls.do_handshake()
        await trio.lowlevel.wait_readable(far)
    server = alpn_stream(far, serving(), far.recv(65536) if buffered else b"")
    failures = ["", ""]

    async def one(index: int) -> None:
        stream = (client, server)[index]
        try:
            await stream.handshake()
            await stream.send(b"x")
            await stream.receive()
        except Broken as error:
            failures[index] = str(error)
            stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0)
        nursery.start_soon(one, 1)
    chosen = server.protocol if not failures[1] else None
    client.close()
    server.close()
    return failures[0], failures[1], chosen


@pytest.mark.parametrize("buffered", [False, True], ids=["descriptor", "memory"])
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([b"h2", b"http/1.1"], HTTP2), ([b"http/1.1", b"h2"], HTTP2), ([b"http/1.1"], HTTP1), ([b"spdy/1"], None)],
)
async def test_the_servers_order_decides(offered: list[bytes], chosen: str | None, buffered: bool) -> None:
    assert await shake(offered, roots(), buffered=buffered) == ("", "", chosen)


@pytest.mark.parametrize("buffered", [False, True], ids=["descriptor", "memory"])
async def test_a_client_that_does_not_trust_is_heard(buffered: bool) -> None:
    ours, theirs, _ = await shake([b"h2"], b"", buffered=buffered)
    assert "certificate verify failed" in ours
    assert "alert unknown ca" in theirs


async def test_a_client_that_has_left_is_a_failure_and_no_surprise() -> None:
    near, far = sockets()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    near.close()
    await trio.lowlevel.wait_readable(far)
    with pytest.raises(Broken):
        await alpn_stream(far, serving(), b"").handshake()
    far.close()


async def test_no_key_is_left_in_the_file_system_or_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    serving()
    assert set(os.listdir("/proc/self/fd")) == before
