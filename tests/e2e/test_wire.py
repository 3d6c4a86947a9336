"""What a raw origin and a raw client see through a real daemon, byte for byte."""

import contextlib
import copy
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.lab.daemon import Configuration, Daemon, configuration, pause
from tests.lab.origin import HOST, TOKEN, Origin
from tests.lab.pki import Pki
from tests.lab.scripted import Close, ReadAll, ReadBytes, ReadHead, ScriptedOrigin, Send, Step, Wait

pytestmark = pytest.mark.e2e

ANSWER = Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
CONNECT = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode()
GET = f"GET http://{HOST}/v2/raw HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

Serve = Callable[..., tuple[Daemon, ScriptedOrigin]]


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory, origin: Origin, pki: Pki) -> Iterator[Serve]:
    """Starts a scripted TLS origin and a daemon whose service it is."""
    with contextlib.ExitStack() as stack:

        def start(*scripts: list[Step]) -> tuple[Daemon, ScriptedOrigin]:
            scripted = stack.enter_context(ScriptedOrigin(*scripts, tls=pki.server_context()))
            folder = tmp_path_factory.mktemp("wire")
            config: Configuration = copy.deepcopy(configuration(origin, pki, folder))
            config["services"]["tickets"]["endpoints"] = [f"127.0.0.1:{scripted.port}"]
            return stack.enter_context(Daemon(folder, config)), scripted

        yield start


def receive_all(sock: socket.socket) -> bytes:
    """Read until the daemon ends the connection."""
    data = b""
    while block := sock.recv(65536):
        data += block
    return data


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"ended within a head: {head!r}"
        head += byte
    return head


def trusting(daemon: Daemon) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(daemon.ca))


def hello(context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Return a client whose ClientHello lies in its outgoing buffer (the last one)."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing


def talk(sock: socket.socket, client: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> bytes:
    """Finish the handshake, send one request and return its answer up to the body's two bytes."""

    def flush_and_feed() -> None:
        sock.sendall(outgoing.read())
        data = sock.recv(65536)
        assert data, "the daemon ended the connection"
        incoming.write(data)

    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            flush_and_feed()
    client.write(f"GET /v2/raw HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"ok"):
        try:
            answer += client.read(65536)
        except ssl.SSLWantReadError:
            flush_and_feed()
    return answer


def test_the_origin_gets_the_head_with_the_credential_and_nothing_of_the_hop(serve: Serve) -> None:
    daemon, scripted = serve([ReadHead(), ANSWER, ReadAll()])
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(
            f"GET http://{HOST}/v2/a?b=c%20d HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer mine\r\n"
            "Proxy-Connection: keep-alive\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nX-Kept: 1\r\n\r\n".encode()
        )
        assert receive_all(sock).endswith(b"\r\n\r\nok")
    head = scripted.received.lower()
    assert head.startswith(b"get /v2/a?b=c%20d http/1.1\r\n")
    assert head.count(b"authorization:") == 1
    assert f"authorization: bearer {TOKEN}".encode() in head
    assert b"x-kept: 1" in head
    for absent in (b"mine", b"proxy-connection", b"x-hop"):
        assert absent not in head


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET http://%b/v2/ HTTP/1.1\r\nHost: %b\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET http://%b/v2/ HTTP/1.1\r\nHost: %b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"GET http://%b/v2/ HTTP/1.1\nHost: %b\n\n",
        b"GET http://%b/v2/ HTTP/1.1\r\nHost: %b\r\nX-A: 1\r\n folded\r\n\r\n",
        b"GET http://%b/v2/ HTTP/1.1\r\nHost : %b\r\n\r\n",
        b"GET http://%b/v2/ HTTP/1.1\r\nHost: %b\r\nHost: other.example\r\n\r\n",
        b"GET http://user@%b/v2/ HTTP/1.1\r\nHost: %b\r\n\r\n",
        b"GET http://%b/v2/#f HTTP/1.1\r\nHost: %b\r\n\r\n",
    ],
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_ambiguous_heads_are_refused_and_reach_nobody(
    daemon: Daemon, origin: Origin, request_head: bytes, bytewise: bool
) -> None:
    mark = origin.ledger.mark()
    raw = request_head % ((HOST.encode(),) * 2)
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # refused before its end
            for piece in [raw[i : i + 1] for i in range(len(raw))] if bytewise else [raw]:
                sock.sendall(piece)
        head = read_head(sock)
        assert head.startswith(b"HTTP/1.1 400 "), head
        assert b"\r\nproxy-status:" in head.lower()
    assert origin.ledger.since(mark) == []


def test_hello_in_the_same_segment_as_connect_is_intercepted(serve: Serve) -> None:
    daemon, _ = serve([ReadHead(), ANSWER, ReadAll()])
    client, incoming, outgoing = hello(trusting(daemon))
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(CONNECT + outgoing.read())
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        assert talk(sock, client, incoming, outgoing).startswith(b"HTTP/1.1 200 ")


def test_hello_byte_by_byte_is_understood_and_costs_no_spinning(serve: Serve) -> None:
    daemon, _ = serve([ReadHead(), ANSWER, ReadAll()])
    worker = daemon.workers()[0]
    client, incoming, outgoing = hello(trusting(daemon))
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(CONNECT)
        read_head(sock)
        first = outgoing.read()
        for index in range(len(first) - 1):
            sock.sendall(first[index : index + 1])
        before = sum(worker.cpu_times()[:2])
        pause(2)  # one byte held back: a spinning worker would burn all of it
        spent = sum(worker.cpu_times()[:2]) - before
        sock.sendall(first[-1:])
        assert talk(sock, client, incoming, outgoing).startswith(b"HTTP/1.1 200 ")
    assert spent < 0.5


def test_stale_pooled_connection_is_not_the_clients_concern(serve: Serve) -> None:
    daemon, scripted = serve([ReadHead(), ANSWER, Close()], [ReadHead(), ANSWER, ReadAll()])
    with socket.create_connection(daemon.address(), 20) as sock:
        for _ in range(2):
            sock.sendall(GET)
            assert read_head(sock).startswith(b"HTTP/1.1 200 ")
            assert sock.recv(2, socket.MSG_WAITALL) == b"ok"
    assert len(scripted.conversations) == 2


def test_body_that_breaks_off_is_never_taken_for_a_whole_one(serve: Serve) -> None:
    chunked = Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
    daemon, _ = serve([ReadHead(), chunked, Close()])
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(GET)
        got = b""
        with contextlib.suppress(ConnectionError):
            got = receive_all(sock)
    assert not got.endswith(b"0\r\n\r\n")


def test_interim_response_passes_and_the_final_one_follows(serve: Serve) -> None:
    may_answer = threading.Event()
    hints = Send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    daemon, _ = serve([ReadHead(), hints, Wait(may_answer), ANSWER, ReadAll()])
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(GET)
        assert read_head(sock).startswith(b"HTTP/1.1 103 ")
        may_answer.set()
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")


def test_expect_100_continue_is_end_to_end(serve: Serve) -> None:
    daemon, scripted = serve([ReadHead(), Send(b"HTTP/1.1 100 Continue\r\n\r\n"), ReadBytes(5), ANSWER, ReadAll()])
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(
            f"POST http://{HOST}/v2/ HTTP/1.1\r\nHost: {HOST}\r\n"
            "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode()
        )
        assert read_head(sock).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"hello")
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
    assert scripted.received.endswith(b"\r\n\r\nhello")


def test_upgrade_to_websocket_becomes_a_tunnel_surplus_bytes_included(serve: Serve) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    daemon, scripted = serve([ReadHead(), Send(switch + b"first"), ReadBytes(4), Send(b"pong"), Close()])
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert read_head(sock).startswith(b"HTTP/1.1 101 ")
        assert sock.recv(5, socket.MSG_WAITALL) == b"first"
        sock.sendall(b"ping")
        assert receive_all(sock) == b"pong"
    assert scripted.received.endswith(b"ping")


def test_client_that_leaves_cancels_the_exchange(serve: Serve) -> None:
    daemon, scripted = serve([ReadHead(), ReadAll()])
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(GET)
        while not scripted.received.endswith(b"\r\n\r\n"):
            pause(0.01)
    entry = daemon.wait_for_log(1)[0]
    assert "DC" in entry["flags"]


def test_another_name_in_the_hello_ends_in_unrecognized_name(daemon: Daemon, origin: Origin, pki: Pki) -> None:
    mark = origin.ledger.mark()
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(CONNECT)
        read_head(sock)
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
            trusting(daemon).wrap_socket(sock, server_hostname="other.tickets.example")
    assert origin.ledger.since(mark) == []


def test_another_host_inside_the_tunnel_is_misdirected(daemon: Daemon, origin: Origin) -> None:
    mark = origin.ledger.mark()
    with socket.create_connection(daemon.address(), 20) as sock:
        sock.sendall(CONNECT)
        read_head(sock)
        with trusting(daemon).wrap_socket(sock, server_hostname=HOST) as tls:
            tls.sendall(b"GET /v2/echo HTTP/1.1\r\nHost: other.example\r\n\r\n")
            assert read_head(tls).startswith(b"HTTP/1.1 421 ")
    assert origin.ledger.since(mark) == []
