"""Sinks of a real daemon: shipped ones and strangers', at work and in trouble."""

import copy
import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.curl import fetch
from tests.lab.daemon import SECRETS, Configuration, Daemon, configuration, wait_until
from tests.lab.origin import BASE_URL, TOKEN, Origin
from tests.lab.pki import Pki

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
METADATA = "Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n"
MODULE = """\
import threading
from dataclasses import dataclass
from proxyd.sdk import SecretName, Sink

@dataclass(frozen=True)
class Options:
    path: str
    key: SecretName

class Lines(Sink):
    options_type = Options
    async def events(self, batch):
        with open(self.host.state_dir / self.options.path, "a") as file:
            for record in batch:
                print(record.status, len(self.host.secret(self.options.key)), file=file)

class Fails(Sink):
    async def events(self, batch):
        raise RuntimeError("the tape is torn")

class Blocks(Sink):
    async def events(self, batch):
        threading.Event().wait()
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder as pip leaves it after installing a package with an entry point."""
    folder = tmp_path / "site"
    info = folder / "strangers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("[proxyd.sinks]\nstrangers_lines = strangers:Lines\n")
    (folder / "strangers.py").write_text(MODULE)
    return folder


@contextmanager
def running(folder: Path, origin: Origin, pki: Pki, *sinks: dict[str, object], path: str = "") -> Iterator[Daemon]:
    config: Configuration = configuration(origin, pki, folder)
    config["telemetry"]["sinks"] = list(sinks)
    with Daemon(folder, config, SECRETS | {"PYTHONPATH": path}) as daemon:
        yield daemon


def ask(daemon: Daemon, count: int = 1) -> None:
    for _ in range(count):
        fetch(daemon, f"{BASE_URL}/echo?key=hidden")


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_strangers_sinks_get_events_by_entry_point_and_by_module(
    tmp_path: Path, installed: Path, origin: Origin, pki: Pki
) -> None:
    path = f"{installed}:{EXAMPLES}"
    with running(
        tmp_path / "d",
        origin,
        pki,
        {"plugin": "strangers_lines", "path": "lines.txt", "key": "tickets/token"},
        {"plugin": "slow_log:SlowLog", "path": "slow.txt", "over": "0s"},
        path=path,
    ) as daemon:
        ask(daemon, 2)
        state = daemon.folder / "state"
        wait_until(lambda: len(lines_of(state / "lines.txt")) == 2, "two lines of the entry point's sink")
        wait_until(lambda: len(lines_of(state / "slow.txt")) == 2, "two lines of the guide's example")
        assert lines_of(state / "lines.txt") == [f"200 {len(TOKEN)}"] * 2
        assert "hidden" not in (state / "slow.txt").read_text()
        assert len(daemon.wait_for_log(2)) == 2
        assert daemon.status()["problems"] == []


def test_a_mistake_in_a_sink_is_told_by_check_and_refuses_a_reload(
    own_daemon: Daemon,
) -> None:
    config = copy.deepcopy(own_daemon.config)
    config["telemetry"]["sinks"] = [{"plugin": "access_log", "name": "second", "paht": "x"}]
    own_daemon.write(config)
    for command in (("check", "-c", str(own_daemon.file)), ("reload",)):
        done = own_daemon.run(*command)
        assert done.returncode not in {0, 3}
        assert (
            "telemetry.sinks[0].paht: unknown option; there are path; did you mean 'path'?" in done.stdout + done.stderr
        )
    ask(own_daemon)


def test_sinks_that_fail_and_block_hurt_neither_traffic_nor_neighbours(
    tmp_path: Path, installed: Path, origin: Origin, pki: Pki
) -> None:
    fails, blocks = {"plugin": "strangers:Fails"}, {"plugin": "strangers:Blocks"}
    with running(tmp_path / "d", origin, pki, fails, blocks, path=str(installed)) as daemon:
        ask(daemon, 3)
        daemon.wait_for_log(3)
        wait_until(lambda: bool(daemon.status()["problems"]), "the failure in status")
        assert daemon.status()["problems"] == ["sink Fails: RuntimeError: the tape is torn"]
        daemon.write(configuration(origin, pki, daemon.folder))
        daemon.reload()
        assert daemon.status()["problems"] == []
        ask(daemon)
        daemon.wait_for_log(4)


def test_a_rotated_log_is_followed_by_rename_and_at_once_by_sigusr1(own_daemon: Daemon) -> None:
    log = Path(own_daemon.config["telemetry"]["access_log"]["path"])
    ask(own_daemon)
    own_daemon.wait_for_log(1)
    log.rename(log.with_suffix(".1"))
    own_daemon.process.send_signal(signal.SIGUSR1)
    wait_until(log.exists, "the new log after SIGUSR1")
    ask(own_daemon)
    own_daemon.wait_for_log(1)
    log.rename(log.with_suffix(".2"))

    def appears() -> bool:
        ask(own_daemon)
        return log.exists()

    wait_until(appears, "the new log without a signal")
    assert all(json.loads(line) for path in log.parent.glob("access*") for line in lines_of(path))
    assert own_daemon.status()["state"] == "ready"


def test_a_full_disk_is_told_and_tears_no_line(own_daemon: Daemon) -> None:
    log = Path(own_daemon.config["telemetry"]["access_log"]["path"])
    ask(own_daemon)
    own_daemon.wait_for_log(1)
    control = own_daemon.control().pid
    _, hard = resource.prlimit(control, resource.RLIMIT_FSIZE)
    resource.prlimit(control, resource.RLIMIT_FSIZE, (log.stat().st_size + 100, hard))  # as a disk with 100 bytes left
    ask(own_daemon, 3)
    wait_until(lambda: bool(own_daemon.status()["problems"]), "the full disk in status")
    assert own_daemon.status()["problems"] == [
        f"sink access_log: {log}: File too large; lines are lost until it is writable"
    ]
    assert len(lines_of(log)) == 1
    resource.prlimit(control, resource.RLIMIT_FSIZE, (hard, hard))
    ask(own_daemon)
    own_daemon.wait_for_log(2)
    assert own_daemon.status()["problems"] == []
    assert own_daemon.stderr.count("access_log_failed") == own_daemon.stderr.count("access_log_resumed") == 1
