import contextlib
import fcntl
import os
import socket
import stat

import pytest

from proxyd.supervisor.activation import Inherited
from proxyd.supervisor.address import address_of
from proxyd.supervisor.listeners import BindError, Listeners


@pytest.fixture
def listeners():
    made = Listeners()
    yield made
    made.close()


def connects(listening):
    address = address_of(listening.sock)
    with socket.socket(address.family) as client:
        client.connect(address.sockaddr)


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def inherited(name):
    server = socket.create_server(("127.0.0.1", 0))
    return Inherited(name, address_of(server), server)


def test_sockets_listen_without_blocking_in_the_order_asked(listeners, tmp_path):
    made = listeners.change([("b", "127.0.0.1:0"), ("a", f"unix:{tmp_path}/a")])
    assert [one.name for one in made] == ["b", "a"]
    for one in made:
        connects(one)
        assert not one.sock.getblocking()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_both_families_share_a_port(listeners):
    for attempt in range(20):  # the port that the kernel chose may be another process's in the other family
        (six,) = listeners.change([(f"six-{attempt}", "[::1]:0")])
        port = six.actual.rpartition(":")[2]
        with contextlib.suppress(BindError):
            both = listeners.change([(f"six-{attempt}", "[::1]:0"), ("any4", f"0.0.0.0:{port}")])
            break
    assert both[0] is six
    connects(both[0])


def test_unchanged_listeners_keep_their_socket_and_a_new_name_keeps_a_fixed_port(listeners):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        fixed = f"127.0.0.1:{probe.getsockname()[1]}"
    first = listeners.change([("a", fixed), ("b", "127.0.0.1:0")])
    sockets = [one.sock for one in first]
    second = listeners.change([("b", "127.0.0.1:0"), ("renamed", fixed)])
    assert [one.sock for one in second] == sockets[::-1]
    assert second[1].name == "renamed"


def test_a_port_chosen_by_the_kernel_belongs_to_its_name(listeners):
    (first,) = listeners.change([("a", "127.0.0.1:0")])
    former = first.actual
    (second,) = listeners.change([("b", "127.0.0.1:0")])
    assert second.actual != former


def test_all_or_nothing(listeners, tmp_path):
    (kept,) = listeners.change([("a", "127.0.0.1:0")])
    path = tmp_path / "new"
    with pytest.raises(BindError, match=r"listener bad: 1\.2\.3:x: expected host:port"):
        listeners.change([("new", f"unix:{path}"), ("bad", "1.2.3:x")])
    assert not path.exists()
    connects(kept)
    assert listeners.change([("a", "127.0.0.1:0")]) == [kept]


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ([("a", "192.0.2.1:0")], "listener a: cannot listen on 192.0.2.1:0: no interface"),
        ([("a", "unix:/nonexistent/a")], "the folder does not exist"),
        ([("a", "unix:/" + "x" * 200)], "too long"),
        ([("a", "127.0.0.1:0"), ("a", "127.0.0.1:0")], "the same name"),
        ([(str(n), "127.0.0.1:0") for n in range(251)], "251 listeners, at most 250"),
    ],
)
def test_problems_are_said_in_words(listeners, wanted, problem):
    with pytest.raises(BindError, match=problem):
        listeners.change(wanted)


def test_a_unix_socket_is_private_and_goes_with_its_listener(listeners, tmp_path):
    path = tmp_path / "a"
    listeners.change([("a", f"unix:{path}")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listeners.change([])
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(listeners, tmp_path):
    path = tmp_path / "a"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (made,) = listeners.change([("a", f"unix:{path}")])
    connects(made)


def test_a_unix_socket_in_use_is_left_alone(listeners, tmp_path):
    path = tmp_path / "a"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        with pytest.raises(BindError, match="another process listens there"):
            listeners.change([("a", f"unix:{path}")])
    assert path.exists()


def test_a_socket_that_another_process_is_about_to_listen_on_is_waited_for(listeners, tmp_path, monkeypatch):
    monkeypatch.setattr("proxyd.supervisor.listeners.LOCK_SECONDS", 0.0)
    path = tmp_path / "a"
    folder = os.open(tmp_path, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(BindError, match="holds a lock on the folder"):
            listeners.change([("a", f"unix:{path}")])
        other.listen()
    assert path.exists()
    os.close(folder)


def test_a_file_is_never_removed(listeners, tmp_path):
    path = tmp_path / "a"
    path.write_text("precious")
    with pytest.raises(BindError, match="is no socket"):
        listeners.change([("a", f"unix:{path}")])
    assert path.read_text() == "precious"


def test_another_processs_socket_at_the_path_is_not_removed_at_the_end(listeners, tmp_path):
    path = tmp_path / "a"
    listeners.change([("a", f"unix:{path}")])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        listeners.close()
    assert path.exists()


def test_inherited_sockets_are_claimed_by_name_before_address_and_given_back():
    by_name, by_address, spare = inherited("apps"), inherited("unknown"), inherited("spare")
    text = f"127.0.0.1:{by_address.sock.getsockname()[1]}"
    listeners = Listeners([spare, by_address, by_name])
    wanted = [("other", text), ("apps", "127.0.0.1:1")]
    made = listeners.change(wanted)
    assert [one.sock for one in made] == [by_address.sock, by_name.sock]
    listeners.change([])
    assert [one.sock for one in listeners.change(wanted)] == [by_address.sock, by_name.sock]
    listeners.close()
    assert spare.sock.fileno() == -1


def test_an_inherited_unix_socket_is_claimed_by_its_path_which_stays(tmp_path):
    path = tmp_path / "gateway.sock"
    given = socket.socket(socket.AF_UNIX)
    given.bind(str(path))
    given.listen()
    listeners = Listeners([Inherited("other", address_of(given), given)])
    (made,) = listeners.change([("local", f"unix:{path}")])
    assert made.sock is given
    assert made.actual == f"unix:{path}"
    listeners.close()
    assert path.exists()


def test_a_failed_change_gives_inherited_sockets_back():
    given = inherited("apps")
    listeners = Listeners([given])
    with pytest.raises(BindError):
        listeners.change([("apps", "127.0.0.1:1"), ("bad", "x")])
    assert listeners.change([("apps", "127.0.0.1:1")])[0].sock is given.sock
    listeners.close()


def test_abandoning_closes_copies_and_leaves_the_path(tmp_path):
    path = tmp_path / "a"
    listeners = Listeners()
    (made,) = listeners.change([("a", f"unix:{path}")])
    listeners.abandon()
    assert made.sock.fileno() == -1
    assert path.exists()
    os.unlink(path)
