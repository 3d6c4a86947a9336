import os
import socket
import stat

import pytest

from proxyd.admin.bind import BindError, bind_beside, bind_unix, host_port
from proxyd.core.settings import Readers


def reaches(path, listener):
    """Whether who connects to ``path`` is accepted by ``listener``."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        try:
            listener.sock.accept()[0].close()
        except BlockingIOError:
            return False
    return True


def test_the_socket_is_for_its_owner_alone_and_the_umask_stays(tmp_path):
    mask = os.umask(0o022)
    listener = bind_unix(tmp_path / "admin.sock")
    assert os.umask(mask) == 0o022
    assert stat.S_IMODE(listener.path.stat().st_mode) == 0o600
    listener.close()
    assert not listener.path.exists()


def test_a_stale_socket_is_replaced(tmp_path):
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    bind_unix(path).close()


def test_a_socket_that_answers_is_left_alone(tmp_path):
    first = bind_unix(tmp_path / "admin.sock")
    with pytest.raises(BindError, match="another proxyd answers"):
        bind_unix(tmp_path / "admin.sock")
    assert first.path.exists()
    first.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "admin.sock"
    path.write_text("precious")
    with pytest.raises(BindError, match="no socket"):
        bind_unix(path)
    assert path.read_text() == "precious"


def test_a_socket_that_took_our_place_is_not_removed(tmp_path):
    path = tmp_path / "admin.sock"
    first = bind_unix(path)
    path.rename(tmp_path / "aside")
    second = bind_unix(path)
    first.close()
    assert path.exists()
    second.close()


@pytest.mark.parametrize(("name", "why"), [("x" * 120, "longer than"), ("absent/admin.sock", "No such file")])
def test_a_path_that_cannot_be_bound_is_named(tmp_path, name, why):
    with pytest.raises(BindError, match=why):
        bind_unix(tmp_path / name)


def test_a_socket_beside_another_takes_its_place_without_a_gap(tmp_path):
    path = tmp_path / "admin.sock"
    former, latter = bind_unix(path), bind_beside(path)
    assert reaches(path, former)
    latter.promote()
    assert [entry.name for entry in tmp_path.iterdir()] == ["admin.sock"]
    assert reaches(path, latter)
    former.close()
    assert path.exists()
    latter.close()
    assert not path.exists()


def test_a_socket_that_never_takes_the_other_s_place_leaves_nothing(tmp_path):
    former, latter = bind_unix(tmp_path / "admin.sock"), bind_beside(tmp_path / "admin.sock")
    latter.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["admin.sock"]
    former.close()


def test_an_ipv6_address_keeps_its_brackets():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        assert host_port(sock).startswith("[::1]:")


@pytest.mark.parametrize(
    ("readers", "mode"),
    [
        (Readers(), 0o600),
        (Readers(gids=(os.getegid(),)), 0o660),
        (Readers(uids=(1,), gids=(os.getegid(),)), 0o666),
        (Readers(uids=(1,)), 0o666),
        (Readers(gids=(1, 2)), 0o666),
    ],
)
@pytest.mark.parametrize("bind", [bind_unix, bind_beside])
def test_the_mode_is_as_wide_as_readers_need(tmp_path, bind, readers, mode):
    listener = bind(tmp_path / "admin.sock", readers)
    found = listener.path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, os.getegid())
    listener.close()


def test_a_group_that_the_daemon_cannot_give_is_reached_by_mode(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    listener = bind_unix(tmp_path / "admin.sock", Readers(gids=(1,)))
    assert stat.S_IMODE(listener.path.stat().st_mode) == 0o666
    listener.close()
