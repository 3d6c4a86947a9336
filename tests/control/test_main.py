"""The control process itself, executed with a fake supervisor at the other end of its link."""

import os
import signal
import socket
import stat
import subprocess
import sys

import pytest
import trio

from proxyd.net.frames import FrameLink
from proxyd.wire import ipc
from tests.control.fakes import FakeSupervisor

CONFIG = """
listeners: [{name: apps, mode: forward, address: "127.0.0.1:0"}]
services: {tickets: {hosts: [api.tickets.example], base_url: "https://api.tickets.example"}}
"""


class Process:
    def __init__(self, folder, text, nursery):
        self.folder = folder
        ours, theirs = socket.socketpair()
        (folder / "proxyd.yaml").write_text(text)
        self.state, runtime = folder / "state", folder / "run"
        command = [sys.executable, "-m", "proxyd.cli.control", "--config", str(folder / "proxyd.yaml")]
        command += ["--state-dir", str(self.state), "--runtime-dir", str(runtime)]
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PROXYD_SUPERVISOR_FD": str(theirs.fileno())},
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        self.supervisor = FakeSupervisor(FrameLink(ours, ipc.MAX_UP, max_send=ipc.MAX_DOWN), nursery)
        nursery.start_soon(self.supervisor.run)

    async def ready(self):
        with trio.fail_after(30):
            while not any(notice.startswith("READY=1") for notice in self.supervisor.notices):  # noqa: ASYNC110
                await trio.sleep(0.02)

    async def end(self):
        """Return (exit code, standard error)."""
        with trio.fail_after(30):
            _, error = await trio.to_thread.run_sync(self.process.communicate)
        return self.process.returncode, error


@pytest.fixture
async def start(tmp_path, nursery):
    started = []

    def start(text=CONFIG):
        started.append(Process(tmp_path, text, nursery))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stderr.close()
        one.supervisor.close()


async def test_it_serves_until_the_supervisors_link_ends(start):
    control = start()
    await control.ready()
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in control.state.iterdir()}
    assert files == {"vault": 0o700, "vault.anchor": 0o600, "ca.pem": 0o644, "ca-bundle.pem": 0o644}
    assert (control.folder / "run" / "admin.sock").is_socket()
    assert list(control.supervisor.workers[0].leaves) == ["api.tickets.example"]
    control.supervisor.close()
    code, error = await control.end()
    assert code == 0, error
    assert not (control.folder / "run" / "admin.sock").exists()


async def test_the_certificates_are_published_where_the_configuration_says(start, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    control = start(f"{CONFIG}tls: {{publish: {shared}}}\n")
    await control.ready()
    for name in ("ca.pem", "ca-bundle.pem"):
        assert (shared / name).read_bytes() == (control.state / name).read_bytes()
        assert stat.S_IMODE((shared / name).stat().st_mode) == 0o644


async def test_a_folder_to_publish_in_that_is_missing_is_printed(start, tmp_path):
    control = start(f"{CONFIG}tls: {{publish: {tmp_path}/missing}}\n")
    code, error = await control.end()
    assert code == 1
    assert "missing" in error


async def test_sigterm_ends_it(start):
    control = start()
    await control.ready()
    control.process.send_signal(signal.SIGTERM)
    assert (await control.end())[0] == 0


async def test_every_mistake_is_printed_and_the_exit_code_is_2(start):
    control = start("listeners: []\nfoo: 1\n")
    code, error = await control.end()
    assert code == 2
    assert [line.partition("proxyd.yaml:")[2][:4] for line in error.splitlines()] == ["1:12", "2:1:"]
    assert control.supervisor.binds == []


async def test_address_that_cannot_be_bound_is_printed(start):
    control = start()
    control.supervisor.refuses = "listener apps: cannot listen on 127.0.0.1:3128: another process listens there"
    assert await control.end() == (1, f"proxyd: {control.supervisor.refuses}\n")


async def test_admin_socket_that_another_daemon_has_is_printed(start, tmp_path):
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "run" / "admin.sock"))
        other.listen()
        control = start()
        code, error = await control.end()
    assert code == 1
    assert "another proxyd answers there" in error
    assert control.supervisor.binds == []


async def test_root_that_is_open_to_others_is_printed(start, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ca-root.key").write_text("x")
    (tmp_path / "state" / "ca-root.key").chmod(0o644)
    code, error = await start().end()
    assert code == 1
    assert "is open to others" in error


async def test_heavy_modules_stay_out_of_the_process(start, monkeypatch):
    monkeypatch.setenv("PROXYD_DUMPABLE", "1")  # or only root could look
    control = start()
    await control.ready()
    maps = await trio.Path(f"/proc/{control.process.pid}/maps").read_text()
    assert "pydantic_core" not in maps
    assert "_yaml" not in maps
