"""What the stream suite (test_stream.py) does not ask: policy, names, alerts, liveness, and hellos read before."""

import socket
import ssl

import pytest
import trio
from OpenSSL import SSL
from trio.testing import wait_all_tasks_blocked

from proxyd.net import tls
from proxyd.net.stream import Broken, Late
from proxyd.net.tls import (
    ALERT_UNRECOGNIZED_NAME,
    MemoryTlsStream,
    client_context,
    client_stream,
    server_context,
    server_stream,
    verify_peer,
)
from tests.lab.plane import leaf, roots

HOST = "origin.example"


@pytest.fixture
async def sockets():
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    yield near, far
    near.close()
    far.close()


def for_host(host=HOST):
    made = leaf(host)
    return server_context(made.chain_pem, made.key_pem)


async def shake(client, server):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)


async def connected(sockets, asked=HOST, certified=HOST):
    near, far = sockets
    client = client_stream(near, client_context(roots()), asked, is_ip=asked[0].isdigit())
    server = server_stream(far, for_host(certified), b"")
    await shake(client, server)
    return client, server


def foreign_client(context=None):
    """A client of the standard library on memory BIOs, and its first flight."""
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=roots().decode())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing


async def test_upstreams_are_offered_http11_alone(sockets):
    near, far = sockets
    client = client_stream(near, client_context(roots()), HOST, is_ip=False)
    with pytest.raises(SSL.WantReadError):
        client.tls.do_handshake()
    assert b"\x00\x10\x00\x0b\x00\x09\x08http/1.1" in far.recv(65536)  # RFC 7301 §3.1


async def test_clients_are_chosen_no_protocol_for_and_speak_the_newest_tls(sockets):
    client, server = await connected(sockets)
    assert client.tls.get_alpn_proto_negotiated() == b""
    assert client.tls.get_protocol_version_name() == "TLSv1.3"
    assert server.tls.get_servername() == HOST.encode()


async def test_an_address_is_not_sent_as_server_name(sockets):
    _, server = await connected(sockets, "127.0.0.1")
    assert server.tls.get_servername() is None


@pytest.mark.parametrize(
    ("certified", "asked", "is_ip"),
    [
        (HOST, HOST, False),
        ("*.origin.example", "a.origin.example", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
    ],
)
async def test_a_certificate_for_the_name_passes(sockets, certified, asked, is_ip):
    client, _ = await connected(sockets, certified=certified)
    verify_peer(client, asked, is_ip=is_ip)


@pytest.mark.parametrize(
    ("certified", "asked", "is_ip"),
    [
        (HOST, "other.example", False),
        (HOST, "a.origin.example", False),
        ("*.origin.example", "origin.example", False),
        ("*.origin.example", "a.b.origin.example", False),
        ("127.0.0.1", "127.0.0.2", True),
        (HOST, "127.0.0.1", True),
        ("127.0.0.1", HOST, False),
    ],
)
async def test_a_certificate_for_another_name_is_refused(sockets, certified, asked, is_ip):
    client, _ = await connected(sockets, certified=certified)
    with pytest.raises(Broken, match=f"the certificate is not for {asked}"):
        verify_peer(client, asked, is_ip=is_ip)


async def fail_both(client, server):
    """Run a handshake that fails at both ends; return what each end says."""
    said = {}

    async def run(name, stream):
        try:
            await stream.handshake()
        except Broken as error:
            said[name] = str(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "client", client)
        nursery.start_soon(run, "server", server)
    return said


@pytest.mark.parametrize("primed", [False, True])
async def test_an_untrusted_root_ends_the_handshake_and_the_server_is_told(sockets, primed):
    near, far = sockets
    client = client_stream(near, client_context(b""), HOST, is_ip=False)
    hello = b""
    if primed:
        with pytest.raises(SSL.WantReadError):
            client.tls.do_handshake()
        hello = far.recv(65536)
    said = await fail_both(client, server_stream(far, for_host(), hello))
    assert "certificate verify failed" in said["client"]
    assert "unknown ca" in said["server"]


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_versions_before_tls_12_are_refused_with_an_alert(sockets, version):
    near, far = sockets
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    _, _, outgoing = foreign_client(context)
    server = server_stream(far, for_host(), outgoing.read())
    with pytest.raises(Broken, match="unsupported protocol"):
        await server.handshake()
    assert near.recv(1024)[:1] == b"\x15"


@pytest.mark.parametrize("cut", [1, 5, 6, 100, 10_000])
async def test_a_hello_read_before_continues_wherever_it_was_cut(sockets, cut):
    near, far = sockets
    client = client_stream(near, client_context(roots()), HOST, is_ip=False)
    with pytest.raises(SSL.WantReadError):
        client.tls.do_handshake()
    server = server_stream(far, for_host(), far.recv(cut))
    assert isinstance(server, MemoryTlsStream)
    await shake(client, server)
    verify_peer(client, HOST, is_ip=False)
    await server.send(b"hello")
    assert await client.receive() == b"hello"


async def test_without_surplus_tls_runs_on_the_descriptor(sockets):
    assert not isinstance(server_stream(sockets[1], for_host(), b""), MemoryTlsStream)


async def test_application_bytes_that_came_with_the_hellos_flight_are_read(sockets):
    """TLS 1.3: the client's Finished and its first request arrive in one piece."""
    near, far = sockets
    client, incoming, outgoing = foreign_client()
    server = server_stream(far, for_host(), outgoing.read())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handshake)
        await trio.lowlevel.wait_readable(near)
        incoming.write(near.recv(65536))
        client.do_handshake()
        client.write(b"GET / HTTP/1.1\r\n\r\n")
        near.send(outgoing.read())
    assert await server.receive() == b"GET / HTTP/1.1\r\n\r\n"


async def test_garbage_in_place_of_a_hello_is_answered_by_an_alert(sockets):
    near, far = sockets
    server = server_stream(far, for_host(), b"\x16\x03\x01\x00\x05hello")
    with pytest.raises(Broken, match="TLS: "):
        await server.handshake()
    assert near.recv(1024)[:1] == b"\x15"


async def test_a_peer_that_leaves_within_the_handshake_is_a_failure(sockets):
    near, far = sockets
    client = client_stream(near, client_context(roots()), HOST, is_ip=False)
    far.close()
    with pytest.raises(Broken):
        await client.handshake()


async def test_a_handshake_that_the_reaper_ends_says_why(sockets, nursery):
    client = client_stream(sockets[0], client_context(roots()), HOST, is_ip=False)

    async def expire():
        await wait_all_tasks_blocked()
        client.expire("handshake")

    nursery.start_soon(expire)
    with pytest.raises(Late, match="handshake"):
        await client.handshake()


async def test_an_idle_connection_is_alive_whatever_tickets_came_and_stays_usable(sockets):
    client, server = await connected(sockets)
    await trio.lowlevel.wait_readable(client.sock)
    assert client.is_alive()
    assert client.is_alive()
    await server.send(b"answer")
    assert await client.receive() == b"answer"


@pytest.mark.parametrize("how", ["close_notify", "fin", "bytes", "closed here"])
async def test_an_idle_connection_that_ended_or_speaks_unasked_is_not_alive(sockets, how):
    client, server = await connected(sockets)
    assert client.is_alive()
    if how == "close_notify":
        server.close()
    elif how == "fin":
        server.sock.close()
    elif how == "bytes":
        await server.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    else:
        client.close()
    assert not client.is_alive()


async def test_an_end_without_close_notify_is_told_from_an_end(sockets):
    client, server = await connected(sockets)
    server.sock.close()
    with pytest.raises(Broken, match=r"without close_notify|unexpected eof"):
        await client.receive()


async def test_the_refusal_before_a_handshake_is_an_alert_that_clients_know(sockets):
    client, incoming, _ = foreign_client()
    incoming.write(ALERT_UNRECOGNIZED_NAME)
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        client.do_handshake()


def test_the_systems_roots_are_those_that_the_environment_names(tmp_path, monkeypatch):
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(roots())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert tls.system_roots() == str(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setattr(tls, "SYSTEM_ROOTS", (str(tmp_path / "none"), str(bundle)))
    assert tls.system_roots() == str(bundle)
    monkeypatch.setattr(tls, "SYSTEM_ROOTS", ())
    assert tls.system_roots() is None
