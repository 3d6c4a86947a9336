"""TLS on the descriptor and on memory BIOs: what is verified, what is refused, and what the peer is told."""

import socket
import ssl
import warnings

import pytest
import trio
import trustme
from OpenSSL import SSL

from proxyd.net.stream import Broken
from proxyd.net.tls import (
    ALERT_UNRECOGNIZED_NAME,
    TlsStream,
    client_context,
    client_stream,
    server_context,
    server_stream,
    system_roots,
    verify_peer,
)
from tests.lab.plane import authority, leaf, roots
from tests.net.test_stream import HOST, memory_server, sockets, tls_client


def serving(host: str = HOST, ca: trustme.CA | None = None) -> SSL.Context:
    issued = (ca or authority()).issue_cert(host)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return server_context(chain, issued.private_key_pem.bytes())


async def handshakes(client: TlsStream, server: TlsStream) -> tuple[str, str]:
    """Run both; return how each failed, empty where it did not."""
    failures = {"client": "", "server": ""}

    async def one(name: str, stream: TlsStream) -> None:
        try:
            await stream.handshake()
            await stream.send(b"x")
            await stream.receive()
        except Broken as error:
            failures[name] = str(error)
            stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "client", client)
        nursery.start_soon(one, "server", server)
    client.close()
    server.close()
    return failures["client"], failures["server"]


@pytest.mark.parametrize("buffered", [False, True], ids=["descriptor", "memory"])
async def test_a_client_that_does_not_trust_tells_the_server_by_alert(buffered: bool) -> None:
    near, far = sockets()
    client = client_stream(near, client_context(b""), HOST, is_ip=False)
    if buffered:
        with pytest.raises(SSL.WantReadError):
            client.tls.do_handshake()
        await trio.lowlevel.wait_readable(far)
    server = server_stream(far, serving(), far.recv(65536) if buffered else b"")
    ours, theirs = await handshakes(client, server)
    assert "certificate verify failed" in ours
    assert "unknown ca" in theirs


@pytest.mark.parametrize("buffered", [False, True], ids=["descriptor", "memory"])
async def test_a_client_of_old_tls_is_told_by_alert(buffered: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    old = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        old.do_handshake()
    near, far = sockets()
    near.send(outgoing.read())
    await trio.lowlevel.wait_readable(far)
    server = server_stream(far, serving(), far.recv(65536) if buffered else b"")
    with pytest.raises(Broken):
        await server.handshake()
    await trio.lowlevel.wait_readable(near)
    incoming.write(near.recv(65536))
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        old.do_handshake()
    server.close()
    near.close()


@pytest.mark.parametrize(
    ("certificate", "name", "is_ip", "fits"),
    [
        ("a.example", "a.example", False, True),
        ("*.example.org", "a.example.org", False, True),
        ("*.example.org", "a.b.example.org", False, False),
        ("*.example.org", "example.org", False, False),
        ("a.example", "b.example", False, False),
        ("a.example", "a.example.evil.example", False, False),
        ("127.0.0.1", "127.0.0.1", True, True),
        ("127.0.0.1", "127.0.0.2", True, False),
        ("::1", "::1", True, True),
    ],
)
async def test_the_certificates_name_is_checked(certificate: str, name: str, is_ip: bool, fits: bool) -> None:
    near, far = sockets()
    client = client_stream(near, client_context(roots()), name, is_ip=is_ip)
    server = server_stream(far, serving(certificate), b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handshake)
        await client.handshake()
    if fits:
        verify_peer(client, name, is_ip=is_ip)
    else:
        with pytest.raises(Broken, match="the certificate is not for"):
            verify_peer(client, name, is_ip=is_ip)
    client.close()
    server.close()


async def test_sni_is_sent_for_names_alone() -> None:
    for name, is_ip, expected in ((HOST, False, HOST.encode()), ("127.0.0.1", True, None)):
        near, far = sockets()
        client = client_stream(near, client_context(roots()), name, is_ip=is_ip)
        server = server_stream(far, serving(name), b"")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.handshake)
            await client.handshake()
        assert server.tls.get_servername() == expected
        client.close()
        server.close()


async def test_an_end_without_close_notify_is_no_end() -> None:
    for make in (tls_client, memory_server):
        near, far = await make()
        far.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(Broken, match="without close_notify"):
            await near.receive()
        near.close()
        far.close()


async def test_garbage_in_the_stream_is_a_failure() -> None:
    near, far = await tls_client()
    far.sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(Broken, match=r"^TLS: "):
        await near.receive()
    near.close()
    far.close()


async def test_what_came_with_the_end_of_the_handshake_is_not_waited_for() -> None:
    """A small request in the client's last flight is in TLS, not on the socket, when the server looks."""
    near, far = sockets()
    client = client_stream(near, client_context(roots()), HOST, is_ip=False)
    made = leaf(HOST)
    with pytest.raises(SSL.WantReadError):
        client.tls.do_handshake()
    await trio.lowlevel.wait_readable(far)
    server = server_stream(far, server_context(made.chain_pem, made.key_pem), far.recv(65536))
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            await client.handshake()
            await client.send(b"ping")

        nursery.start_soon(ask)
        await server.handshake()
    with trio.fail_after(2):
        assert await server.receive() == b"ping"
    client.close()
    server.close()


def test_the_plain_alert_is_what_a_client_understands() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(ALERT_UNRECOGNIZED_NAME)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        client.do_handshake()


def test_roots_come_from_the_environment_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = tmp_path_factory.mktemp("roots") / "roots.pem"
    bundle.write_bytes(roots())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert system_roots() == str(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle) + ".absent")
    assert system_roots() != str(bundle)
