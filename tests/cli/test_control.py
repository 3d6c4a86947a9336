import subprocess
import sys

import pytest
import trio

from proxyd.cli.control import serve_admin
from proxyd.control.main import StartError
from tests.admin.fakes import FakeService


async def test_an_admin_address_that_cannot_be_had_ends_the_start(tmp_path):
    with pytest.raises(StartError, match=r"admin\.socket .*absent"):
        await serve_admin(FakeService(), str(tmp_path / "absent" / "a.sock"), None, lambda *_: None, "")


async def test_the_admin_side_tells_where_it_listens(tmp_path):
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve_admin, FakeService(), str(tmp_path / "a.sock"), None, lambda *_: None, "")
        assert (bound.socket, bound.http) == (str(tmp_path / "a.sock"), "")
        nursery.cancel_scope.cancel()


def test_it_is_not_for_people():
    done = subprocess.run([sys.executable, "-m", "proxyd.cli.control"], capture_output=True, check=False)
    assert done.returncode == 2
