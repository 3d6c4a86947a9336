"""Two hosts with one Redis share what a vendor leaves, and lose one of them on the way."""

import contextlib
import http.client
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_vendor_limits import KEY, ask, configuration, swarm
from tests.lab.daemon import AdminError, Daemon
from tests.lab.vendor import Vendor, epoch_fields

pytestmark = pytest.mark.e2e


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("coredis")
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no Redis on this machine")
    path = tmp_path / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if b"eady to accept connections" in line:
                break
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def host(tmp_path: Path, vendor: Vendor, store: str, name: str) -> Daemon:
    folder = tmp_path / name
    folder.mkdir()
    config = configuration(folder, vendor, 2)
    config["store"] = {"url": store}
    return Daemon(folder, config, {"VENDOR_KEY": KEY})


def test_two_hosts_share_one_window(tmp_path: Path, redis: str) -> None:
    with (
        Vendor(60, 4.0, epoch_fields, delay=0.005) as vendor,
        host(tmp_path, vendor, redis, "one") as one,
        host(tmp_path, vendor, redis, "two") as two,
    ):
        statuses: list[int] = []
        turns = iter([one, two] * 10)
        lock = threading.Lock()

        def act() -> None:
            with lock:
                daemon = next(turns)
            statuses.extend(ask(daemon)[0] for _ in range(6))

        swarm(20, act)
        assert statuses == [200] * 120
        assert vendor.refused == 0
        assert vendor.windows[0] >= 57, "at least 95 % of the first window"


def test_what_a_host_held_that_was_killed_is_not_spent_twice(tmp_path: Path, redis: str) -> None:
    with (
        Vendor(60, 8.0, epoch_fields, delay=0.02) as vendor,
        host(tmp_path, vendor, redis, "one") as one,
        host(tmp_path, vendor, redis, "two") as two,
    ):
        killed = threading.Event()
        statuses: list[int] = []

        def doomed() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException, AdminError):
                while not killed.is_set():
                    ask(two)
                    if vendor.answered > 20:
                        killed.set()
                        for process in two.processes():
                            process.kill()

        def act() -> None:
            statuses.extend(ask(one)[0] for _ in range(10))

        threads = [threading.Thread(target=doomed, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        swarm(8, act)
        for thread in threads:
            thread.join()
        assert statuses == [200] * 80
        assert vendor.refused == 0
