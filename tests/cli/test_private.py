import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from proxyd.cli import execute, private, rpc
from proxyd.cli.exits import CommandError
from proxyd.cli.private import PrivateDaemon
from tests.lab.daemon import wait_until

PROGRAM = (sys.executable, "-m", "tests.cli.program")


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setattr(PrivateDaemon.__init__, "__defaults__", (PROGRAM,))
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "ca-bundle.pem").write_bytes(trustme.CA().cert_pem.bytes())
    return folder


@pytest.fixture
def runtime(tmp_path):
    return tmp_path / "run"


def run(state, runtime, *command, config=None, explicit=False):
    options = {"config": config, "explicit": explicit, "state": state, "runtime": runtime}
    return execute.execute(command, admin=runtime / "admin.sock", **options)


def folders(runtime):
    return sorted(path.name for path in runtime.iterdir() if path.name != "client")


def test_the_daemon_is_ready_inside_and_gone_after(state, runtime):
    with PrivateDaemon(None, state, runtime, os.environ) as daemon:
        assert daemon.environment()["proxy"] == "http://127.0.0.1:1"
        assert daemon.admin.parent.stat().st_mode & 0o777 == 0o700
        assert not daemon.has_ended
    assert folders(runtime) == []
    assert (state / "ended").read_text() == "in order"


def test_it_is_told_its_folders_and_an_empty_configuration(state, runtime):
    with PrivateDaemon(None, state, runtime, os.environ) as daemon:
        folder = daemon.admin.parent
        assert daemon.output() == (
            f"words: run -c {folder}/proxyd.yaml --admin {folder}/admin.sock --state-dir {state} --runtime-dir {folder}"
        )
        assert "127.0.0.1:0" in (folder / "proxyd.yaml").read_text()


def test_a_daemon_that_does_not_start_shows_why(state, runtime):
    with pytest.raises(CommandError, match=r"f\.yaml:1:1: unknown key") as caught:
        PrivateDaemon(None, state, runtime, {**os.environ, "MODE": "fail"}).__enter__()
    assert caught.value.code == 2
    assert folders(runtime) == []


def test_a_daemon_that_is_not_ready_in_time_is_ended(state, runtime, monkeypatch):
    monkeypatch.setattr(private, "START_SECONDS", 0.3)
    with pytest.raises(CommandError, match="not ready"):
        PrivateDaemon(None, state, runtime, {**os.environ, "MODE": "hang"}).__enter__()
    assert folders(runtime) == []


def test_a_long_runtime_path_gives_way_to_a_short_one(state, tmp_path):
    with PrivateDaemon(None, state, tmp_path / ("x" * 100), os.environ) as daemon:
        assert str(daemon.admin).startswith("/tmp/exec-")
    assert not daemon.admin.parent.exists()


def test_the_service_manager_of_the_caller_is_none_of_its_business(state, runtime):
    variables = {**os.environ, "NOTIFY_SOCKET": "/nonexistent", "LISTEN_FDS": "1"}
    with PrivateDaemon(None, state, runtime, variables) as daemon:
        assert not daemon.has_ended


def test_a_command_without_a_daemon_gets_a_private_one(state, runtime, capfd, monkeypatch):
    monkeypatch.setenv("TOKEN", "the real one")
    assert run(state, runtime, "sh", "-c", "echo $https_proxy $TOKEN; exit 6") == 6
    assert capfd.readouterr().out == "http://127.0.0.1:1 proxyd-placeholder\n"
    assert folders(runtime) == []


def test_with_a_file_the_private_daemon_serves_it(state, runtime, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("MODE", "fail")
    with pytest.raises(CommandError, match=r"words: run -c /some/file\.yaml"):
        run(state, runtime, "true", config=Path("/some/file.yaml"))


def test_a_socket_that_was_named_must_answer(state, runtime):
    with pytest.raises(rpc.Unreachable):
        run(state, runtime, "true", explicit=True)


def test_a_daemon_that_ends_early_is_told_and_the_command_goes_on(state, runtime, monkeypatch, capfd):
    monkeypatch.setenv("MODE", "die-later")
    original = PrivateDaemon.environment

    def environment(self):
        answer = original(self)
        self._process.terminate()
        return answer

    monkeypatch.setattr(PrivateDaemon, "environment", environment)
    assert run(state, runtime, "sh", "-c", f"while [ ! -e {state}/ended ]; do sleep 0.02; done; sleep 0.3") == 0
    assert "the private proxyd has ended" in capfd.readouterr().err


KILLED = """
import os, sys
from pathlib import Path
from proxyd.cli.private import PrivateDaemon
with PrivateDaemon(None, Path(sys.argv[1]), Path(sys.argv[2]), os.environ, (sys.executable, "-m", "tests.cli.program")):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_daemon_ends_with_whoever_wanted_it(state, runtime, number):
    command = [sys.executable, "-c", KILLED, str(state), str(runtime)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as caller:
        assert caller.stdout.readline() == b"ready\n"
        caller.send_signal(number)
    wait_until((state / "ended").exists, "the daemon's end")
