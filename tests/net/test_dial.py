import errno
import os
import resource
import socket

import pytest
import trio
import trio.testing

from proxyd.core.errors import Flag, ProxyError, Retry, Side
from proxyd.net import dial as dial_module
from proxyd.net.dial import STAGGER_SECONDS, dial


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def black_hole():
    """An address whose handshakes never end: a full accept queue drops further SYNs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
            fillers.append(filler)
        yield server.getsockname()
        for filler in fillers:
            filler.close()


@pytest.fixture
def closed_port():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()


@pytest.fixture(autouse=True)
def no_descriptor_leaks(listener):
    before = set(os.listdir("/proc/self/fd"))
    yield
    # the loop of the test (epoll, wake-up pair) may still be there: only sockets that were dialled count
    after = set(os.listdir("/proc/self/fd")) - before
    left = [fd for fd in after if _is_connected(int(fd))]
    assert not left


def _is_connected(fd):
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return sock.family in (socket.AF_INET, socket.AF_INET6)
    except OSError:
        return False


async def test_a_single_address_gives_a_connected_non_blocking_socket(listener):
    with await dial([listener.getsockname()], 5.0) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.getblocking() is False
        assert sock.get_inheritable() is False
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_ipv6_is_dialled_too():
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 loopback")
    with server, await dial([server.getsockname()[:2]], 5.0) as sock:
        assert sock.getpeername()[:2] == server.getsockname()[:2]


@pytest.mark.parametrize("copies", [1, 3])
async def test_refusal_is_502_connection_refused_and_safe_to_retry(closed_port, copies):
    with pytest.raises(ProxyError) as caught:
        await dial([closed_port] * copies, 5.0)
    error = caught.value
    assert (error.status, error.error) == (502, "connection_refused")
    assert (error.flag, error.side, error.retry) == (Flag.UPSTREAM_CONNECT, Side.UPSTREAM, Retry.ALWAYS)
    assert f"127.0.0.1:{closed_port[1]}" in error.detail


@pytest.mark.parametrize("copies", [1, 2])
async def test_silence_is_504_connection_timeout(black_hole, copies, autojump_clock):
    started = trio.current_time()
    with pytest.raises(ProxyError) as caught:
        await dial([black_hole] * copies, 2.0)
    assert (caught.value.status, caught.value.error) == (504, "connection_timeout")
    assert trio.current_time() - started == pytest.approx(2.0)


async def test_the_next_address_is_tried_beside_a_silent_one(black_hole, listener, autojump_clock):
    started = trio.current_time()
    with await dial([black_hole, listener.getsockname()], 5.0) as sock:
        assert sock.getpeername() == listener.getsockname()
    assert trio.current_time() - started == pytest.approx(STAGGER_SECONDS)


async def test_the_next_address_is_tried_at_once_after_a_failure(closed_port, black_hole, listener, autojump_clock):
    started = trio.current_time()
    with await dial([closed_port, closed_port, listener.getsockname(), black_hole], 5.0) as sock:
        assert sock.getpeername() == listener.getsockname()
    assert trio.current_time() == started


async def test_a_failure_after_the_start_ends_the_stagger(listener, monkeypatch, autojump_clock):
    outcomes = iter([errno.ECONNREFUSED, 0])
    monkeypatch.setattr(dial_module, "_start", lambda target: (connected(target), errno.EINPROGRESS))
    monkeypatch.setattr(dial_module, "_outcome", lambda sock: next(outcomes))
    began = trio.current_time()
    with await dial([listener.getsockname()] * 2, 5.0) as sock:
        assert sock.getpeername() == listener.getsockname()
    assert trio.current_time() == began


def connected(target):
    sock = socket.create_connection(target)
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize("copies", [1, 3])
async def test_cancellation_closes_every_attempt(black_hole, copies, autojump_clock):
    with trio.move_on_after(1.0) as scope:
        await dial([black_hole] * copies, 60.0)
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("code", "host", "status", "kind"),
    [
        (errno.ENETUNREACH, "192.0.2.1", 502, "destination_ip_unroutable"),
        (errno.EHOSTUNREACH, "192.0.2.1", 502, "destination_ip_unroutable"),
        (errno.EADDRNOTAVAIL, "2001:db8::1", 502, "destination_ip_unroutable"),
        (errno.EADDRNOTAVAIL, "192.0.2.1", 503, "connection_limit_reached"),
        (errno.ETIMEDOUT, "192.0.2.1", 504, "connection_timeout"),
        (errno.ECONNRESET, "192.0.2.1", 502, "connection_terminated"),
    ],
)
def test_errors_of_connect_become_rfc_9209_types(code, host, status, kind):
    error = dial_module._failed((host, 443), code)
    assert (error.status, error.error, error.retry) == (status, kind, Retry.ALWAYS)


def exhaust(taken):
    while True:
        taken.append(os.dup(0))


@pytest.mark.parametrize("copies", [1, 2])
async def test_no_free_descriptor_is_503_and_proxyds_own_doing(listener, copies):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            exhaust(taken)
        with pytest.raises(ProxyError) as caught:
            await dial([listener.getsockname()] * copies, 5.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert (caught.value.status, caught.value.error) == (503, "connection_limit_reached")
    assert caught.value.side is Side.PROXYD


async def test_a_connection_to_itself_counts_as_refused():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        assert dial_module._outcome(sock) == errno.ECONNREFUSED


async def test_a_name_is_never_looked_up_here():
    with pytest.raises(OSError, match="illegal IP address"):
        await dial([("localhost", 80)], 5.0)


async def test_no_address_is_the_callers_mistake():
    with pytest.raises(ValueError, match="no address"):
        await dial([], 5.0)


async def test_a_unix_socket_is_connected_at_once(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with await dial([(f"unix:{path}", 0)], 1) as sock:
            assert (sock.family, sock.getpeername()) == (socket.AF_UNIX, path)
            assert not sock.getblocking()


async def test_a_unix_socket_that_is_not_there_refuses(tmp_path):
    with pytest.raises(ProxyError, match=r"connecting to unix:/.*/none failed") as caught:
        await dial([(f"unix:{tmp_path}/none", 0)], 1)
    assert (caught.value.status, caught.value.error, caught.value.retry) == (502, "connection_refused", Retry.ALWAYS)
