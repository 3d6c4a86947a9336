import contextlib
import os
import socket
import struct
import sys

import pytest

from proxyd.net import callers
from proxyd.net.callers import executable, find_uid, tcp_uid, unix_peer


@pytest.fixture(params=["127.0.0.1", "::1", "dual"])
def pair(request):
    """A client and the socket that accepted it, the listener gone dual-stack in the third case."""
    try:
        if request.param == "dual":
            server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            target = ("127.0.0.1", server.getsockname()[1])
        else:
            family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
            server = socket.create_server((request.param, 0), family=family)
            target = server.getsockname()[:2]
        with server, socket.create_connection(target) as client:
            accepted, _ = server.accept()
            with accepted:
                yield client, accepted
    except OSError as error:
        if request.param == "127.0.0.1":
            raise
        pytest.skip(f"no IPv6 here: {error}")


def test_the_uid_of_a_local_caller_is_known(pair):
    _, accepted = pair
    assert tcp_uid(accepted) == os.getuid()


def test_the_uid_of_a_caller_with_an_ipv6_socket_on_an_ipv4_connection_is_known():
    """As Java's sockets are."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(socket.socket(socket.AF_INET6))
            client.connect((f"::ffff:{server.getsockname()[0]}", server.getsockname()[1]))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        accepted, _ = server.accept()
        with accepted:
            assert tcp_uid(accepted) == os.getuid()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's socket")
def test_the_uid_is_the_callers_and_not_the_listeners():
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.seteuid(54321)
        try:
            client = socket.socket()
        finally:
            os.seteuid(0)
        with client:
            client.connect(server.getsockname())
            accepted, _ = server.accept()
            with accepted:
                assert tcp_uid(accepted) == 54321


def test_a_caller_that_shut_down_its_sending_side_is_still_known(pair):
    client, accepted = pair
    client.shutdown(socket.SHUT_WR)
    assert tcp_uid(accepted) == os.getuid()


def test_a_caller_that_closed_is_nobody_and_never_root(pair):
    client, accepted = pair
    client.close()
    assert tcp_uid(accepted) is None
    accepted.close()
    assert tcp_uid(accepted) is None


def test_a_time_wait_socket_is_nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        ends = client.getsockname(), accepted.getsockname()
        client.close()
        accepted.close()
        assert find_uid(*ends) is None


def test_a_listener_at_the_callers_address_is_not_the_caller():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert find_uid(server.getsockname(), ("127.0.0.1", 9)) is None


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (("192.0.2.1", 4000), ("192.0.2.2", 80)),
        (("192.0.2.1", 4000), ("2001:db8::1", 80)),
        (("fe80::1%lo", 4000), ("fe80::2%lo", 80)),
        (("nonsense", 4000), ("127.0.0.1", 80)),
        (("127.0.0.1", 70000), ("127.0.0.1", 80)),
    ],
)
def test_an_unknown_caller_is_none(client, server):
    assert find_uid(client, server) is None


def test_a_socket_that_is_no_tcp_connection_is_none():
    left, right = socket.socketpair()
    with left, right:
        assert tcp_uid(left) is None


def test_a_caller_is_none_where_netlink_is_not_to_be_had(pair, monkeypatch):
    def refuse(*_args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(callers.socket, "socket", refuse)
    assert tcp_uid(pair[1]) is None


def test_the_peer_of_a_unix_socket_is_known():
    left, right = socket.socketpair()
    with left, right:
        assert unix_peer(left) == (os.getuid(), os.getgid(), os.getpid())


def test_a_socket_without_a_unix_peer_is_none(pair):
    assert unix_peer(pair[1]) is None
    with socket.socket(socket.AF_UNIX) as lonely:
        assert unix_peer(lonely) is None
        lonely.close()
        assert unix_peer(lonely) is None


def test_the_layout_is_the_kernels():
    assert callers._REQUEST.size == 16 + 56
    assert callers._ANSWER.size == 16 + 72
    assert struct.calcsize("=iII") == 12


def test_the_program_of_a_process_is_a_hint_that_may_be_missing():
    assert executable(os.getpid()) == os.path.realpath(sys.executable)
    assert executable(2**22 + 1) is None
