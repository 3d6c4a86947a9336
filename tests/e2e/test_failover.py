"""A service with several endpoints, of which some die and come back: clients see nothing of it."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemon import Configuration, Daemon, environment, wait_until
from tests.lab.load import Load

pytestmark = pytest.mark.e2e

HOST = "replicas.example"


class Replica:
    """A web server process on a port that it keeps across restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Serve; returns once it does."""
        command = [sys.executable, "-m", "http.server", str(self.port), "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(
            [*command, "--protocol", "HTTP/1.1", "--directory", str(self._folder)],
            env=environment(self._folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "the replica")

    def kill(self) -> None:
        """As kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Replica]]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "page.txt").write_text("hello")
    found = [Replica(site) for _ in range(3)]
    yield found
    for replica in found:
        replica.kill()


def replicated(folder: Path, replicas: list[Replica], **service: Any) -> Configuration:
    return {
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "services": {
            "site": {
                "hosts": [HOST],
                "base_url": f"http://{HOST}",
                "insecure": True,
                "endpoints": [f"127.0.0.1:{replica.port}" for replica in replicas],
                **service,
            }
        },
        "telemetry": {"access_log": {"path": str(folder / "access.jsonl")}},
    }


def test_an_endpoint_that_is_killed_and_comes_back_costs_no_request(tmp_path: Path, replicas: list[Replica]) -> None:
    with Daemon(tmp_path, replicated(tmp_path, replicas, outlier={"base_ejection": "300ms"}), {}) as daemon:
        with Load(daemon.address(), f"http://{HOST}/page.txt") as load:
            load.wait_for_more(60)
            replicas[0].kill()
            load.wait_for_more(120)
            replicas[0].start()
            load.wait_for_more(60)
        assert not load.tally.errors
        assert set(load.tally.statuses) == {200}
        used = {f"127.0.0.1:{replica.port}" for replica in replicas}
        assert {entry["endpoint"] for entry in daemon.wait_for_log(load.tally.statuses.total())} == used
        retried = [entry for entry in daemon.log() if entry["attempts"] > 1]
        assert all(f"127.0.0.1:{replicas[0].port}" in entry["tries"] or "- " in entry["tries"] for entry in retried)


def test_active_checks_take_a_dead_endpoint_out_and_back_in(tmp_path: Path, replicas: list[Replica]) -> None:
    checks = {"path": "/page.txt", "interval": "100ms", "timeout": "2s", "healthy": 1, "unhealthy": 2}
    with Daemon(tmp_path, replicated(tmp_path, replicas, health=checks), {}) as daemon:

        def healthy() -> list[bool]:
            rows = {row["address"]: row["healthy"] for row in daemon.admin.call("endpoints")}
            return [rows[f"127.0.0.1:{replica.port}"] for replica in replicas]

        assert healthy() == [True] * 3
        replicas[1].kill()
        wait_until(lambda: healthy() == [True, False, True], "the verdict")
        assert any("is unhealthy" in problem for problem in daemon.status()["problems"])
        replicas[1].start()
        wait_until(lambda: healthy() == [True] * 3, "the recovery")
        assert not any("is unhealthy" in problem for problem in daemon.status()["problems"])


def test_with_every_endpoint_down_the_breaker_answers_and_recovery_is_quick(
    tmp_path: Path, replicas: list[Replica]
) -> None:
    with Daemon(tmp_path, replicated(tmp_path, replicas), {}) as daemon:
        with Load(daemon.address(), f"http://{HOST}/page.txt", 2) as load:
            load.wait_for_more(20)
            for replica in replicas:
                replica.kill()
            wait_until(lambda: load.tally.statuses[503] > 50, "answers of the breaker")
            for replica in replicas:
                replica.start()
            before = load.tally.statuses[200]
            wait_until(lambda: load.tally.statuses[200] > before + 50, "answers of the service", 10)
        assert not load.tally.errors
        tried = [entry for entry in daemon.wait_for_log(load.tally.statuses.total()) if entry["status"] >= 500]
        assert sum(entry["attempts"] for entry in tried) < len(tried), "most were answered without an attempt"
