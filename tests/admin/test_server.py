import functools
import socket
import stat

import httpx
import pytest
import trio

from proxyd.admin.bind import BindError
from proxyd.admin.server import serve, socket_answers
from tests.admin.fakes import FakeService


def listening():
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def ignore(name, detail):
    raise AssertionError(f"{name}: {detail}")


async def test_both_addresses_are_served_and_given_back(tmp_path, capfd):
    path = tmp_path / "admin.sock"
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve, FakeService(), str(path), listening(), ignore)
        assert bound.socket == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with httpx.AsyncClient(base_url=f"http://{bound.http}", trust_env=False) as client:
            assert (await client.get("/ready")).status_code == 200
            assert (await client.get("/live", headers={"host": "evil.example"})).status_code == 403
            assert "server" not in (await client.get("/metrics")).headers
        nursery.cancel_scope.cancel()
    assert not path.exists()
    assert capfd.readouterr() == ("", "")


async def test_without_an_http_address_there_is_the_socket_alone(tmp_path):
    path = tmp_path / "admin.sock"
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve, FakeService(), str(path), None, ignore)
        assert bound.http == ""
        assert await socket_answers(path)
        nursery.cancel_scope.cancel()
    assert not await socket_answers(path)


async def test_a_path_in_use_is_told_before_anything_is_served(tmp_path):
    async with trio.open_nursery() as nursery:
        first = await nursery.start(serve, FakeService(), str(tmp_path / "a.sock"), None, ignore)
        http = listening()
        second = functools.partial(serve, FakeService(), first.socket, http, ignore)
        with pytest.raises(BindError, match="another proxyd answers there"):
            await nursery.start(second)
        assert http.fileno() == -1
        nursery.cancel_scope.cancel()


async def test_two_generations_change_hands(tmp_path):
    path = tmp_path / "admin.sock"
    http = listening()
    former, latter = FakeService(), FakeService()
    latter.ready = False
    async with trio.open_nursery() as nursery:
        one = await nursery.start(serve, former, str(path), http.dup(), ignore)
        two = await nursery.start(serve, latter, str(path), http.dup(), ignore, "later")
        assert (one.socket, one.http) == (two.socket, two.http)
        async with httpx.AsyncClient(base_url=f"http://{one.http}", trust_env=False) as client:
            assert (await client.get("/ready")).status_code == 200
            two.promote()
            one.retire()
        async with httpx.AsyncClient(base_url=f"http://{one.http}", trust_env=False) as client:
            assert (await client.get("/ready")).status_code == 503
        assert await socket_answers(path)
        nursery.cancel_scope.cancel()
    http.close()
    assert not path.exists()


async def test_a_control_that_replaces_a_dead_one_takes_the_place_at_once(tmp_path):
    path = tmp_path / "admin.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, FakeService(), str(path), None, ignore)
        inode = path.stat().st_ino
        await nursery.start(serve, FakeService(), str(path), None, ignore, "now")
        assert path.stat().st_ino != inode
        nursery.cancel_scope.cancel()


async def test_a_socket_that_was_removed_does_not_answer(tmp_path):
    path = tmp_path / "admin.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, FakeService(), str(path), None, ignore)
        path.unlink()
        assert not await socket_answers(path)
        nursery.cancel_scope.cancel()
