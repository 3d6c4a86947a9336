import os
import socket

import msgpack
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


def test_several_calls_share_a_connection_and_notifications_wait_their_turn(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "a.sock"))
    listener.listen()
    with rpc.Connection(tmp_path / "a.sock") as connection, listener.accept()[0] as daemon:
        listener.close()
        told = [msgpack.packb([2, "exchange", [1, {"id": str(n)}]]) for n in range(2)]
        daemon.sendall(told[0] + msgpack.packb([1, 1, None, {"subscription": 1}]) + told[1])
        assert connection.call("subscribe") == {"subscription": 1}
        daemon.sendall(msgpack.packb([1, 2, None, []]))
        assert connection.call("exchanges") == []
        found = connection.notifications()
        assert [next(found)[1][1]["id"] for _ in range(2)] == ["0", "1"]
        daemon.recv(4096)
        daemon.close()
        with pytest.raises(rpc.Unreachable, match="has ended the connection"):
            next(found)


@pytest.mark.parametrize("answer", [[1, 7, None, []], {"a": 1}, [1, 1], 3])
def test_an_answer_to_nothing_is_no_messagepack_rpc(daemon, answer):
    daemon.answers["status"] = msgpack.packb(answer)
    with pytest.raises(CommandError, match="does not speak MessagePack-RPC"):
        rpc.call(daemon.path, "status")
