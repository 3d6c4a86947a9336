import os

import pytest
import trio

from tests.control.fakes import Lab


@pytest.fixture
def log_file(tmp_path):
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
async def lab(log_file, tmp_path):
    (tmp_path / "state").mkdir(mode=0o700)
    async with trio.open_nursery() as nursery:
        lab = Lab(nursery, log_file, tmp_path / "state")
        yield lab
        lab.supervisor.close()
        nursery.cancel_scope.cancel()
