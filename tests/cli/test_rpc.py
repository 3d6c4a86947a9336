import os

import pytest

from proxyd.cli import rpc
from proxyd.cli.exits import FAILURE, UNREACHABLE, CommandError


def test_a_result_is_returned(daemon):
    daemon.answers["status"] = {"version": "1", "large": "x" * 500_000}
    assert rpc.call(daemon.path, "status") == daemon.answers["status"]
    assert daemon.calls == [("status", [])]


def test_an_error_is_raised_with_the_nearest_name(daemon):
    daemon.answers["statsu"] = Exception({"code": "unknown_method", "message": "no method", "nearest": "status"})
    with pytest.raises(rpc.CallError, match="statsu: no method; did you mean status") as caught:
        rpc.call(daemon.path, "statsu")
    assert caught.value.code == FAILURE


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n\r\n", b"\xc1", b"\x94\x02\x01\xc0\xc0", b"\x91\x01"])
def test_something_else_on_the_socket_is_told_apart(daemon, answer):
    daemon.answers["status"] = answer
    with pytest.raises(CommandError, match="does not speak MessagePack-RPC") as caught:
        rpc.call(daemon.path, "status")
    assert caught.value.code == UNREACHABLE


def test_nobody_there_is_its_own_exit_code(tmp_path):
    with pytest.raises(rpc.Unreachable, match="there is no such socket; start it") as caught:
        rpc.call(tmp_path / "absent.sock", "status")
    assert caught.value.code == UNREACHABLE


def test_a_path_that_is_too_long_is_unreachable(tmp_path):
    with pytest.raises(rpc.Unreachable):
        rpc.call(tmp_path / ("x" * 200), "status")


def test_somebody_else_s_daemon_is_asked_only_when_it_was_named(daemon, monkeypatch):
    daemon.answers["environment"] = {}
    uid = os.geteuid()
    monkeypatch.setattr(rpc.os, "geteuid", lambda: uid + 1)
    monkeypatch.setattr(rpc, "ROOT", -1)
    with pytest.raises(CommandError, match="runs as uid"):
        rpc.call(daemon.path, "environment", any_owner=False)
    assert rpc.call(daemon.path, "environment") == {}


def test_root_asks_the_service_whatever_user_it_has(daemon, monkeypatch):
    daemon.answers["status"] = {}
    monkeypatch.setattr(rpc, "ROOT", os.geteuid() + 1)
    monkeypatch.setattr(rpc.os, "geteuid", lambda: rpc.ROOT)
    assert rpc.call(daemon.path, "status", any_owner=False) == {}
