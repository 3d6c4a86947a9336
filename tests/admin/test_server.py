import functools
import stat

import httpx
import pytest
import trio

from proxyd.admin.bind import BindError
from proxyd.admin.server import serve, socket_answers
from tests.admin.fakes import FakeService


def ignore(name, detail):
    raise AssertionError(f"{name}: {detail}")


async def test_both_addresses_are_served_and_given_back(tmp_path, capfd):
    path = tmp_path / "admin.sock"
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve, FakeService(), str(path), "127.0.0.1:0", ignore)
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
        bound = await nursery.start(serve, FakeService(), str(path), "", ignore)
        assert bound.http == ""
        assert await socket_answers(path)
        nursery.cancel_scope.cancel()
    assert not await socket_answers(path)


async def test_an_address_in_use_is_told_before_anything_is_served(tmp_path):
    async with trio.open_nursery() as nursery:
        first = await nursery.start(serve, FakeService(), str(tmp_path / "a.sock"), "127.0.0.1:0", ignore)
        second = functools.partial(serve, FakeService(), str(tmp_path / "b.sock"), first.http, ignore)
        with pytest.raises(BindError, match="Address already in use"):
            await nursery.start(second)
        assert not (tmp_path / "b.sock").exists()
        nursery.cancel_scope.cancel()


async def test_a_socket_that_was_removed_does_not_answer(tmp_path):
    path = tmp_path / "admin.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, FakeService(), str(path), "", ignore)
        path.unlink()
        assert not await socket_answers(path)
        nursery.cancel_scope.cancel()
