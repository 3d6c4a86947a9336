"""A daemon for one command: started in a folder of its own, stopped when the command has ended."""

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from proxyd.cli import rpc
from proxyd.cli.exits import CommandError
from proxyd.cli.paths import ADMIN_SOCKET, private

START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 5.0
"""The command has ended, so nothing is left that draining would be for."""
SHOWN_BYTES: Final = 8 * 1024
"""The end of the daemon's output that is shown when it does not start."""

PROGRAM: Final = (sys.executable, "-P", "-m", "proxyd.cli.main")

DEFAULT_FILE: Final = "listeners:\n  - {name: exec, mode: forward, address: 127.0.0.1:0}\n"
"""Without a file there is no port that anyone relies on."""

_SUN_PATH: Final = 107
_PR_SET_PDEATHSIG: Final = 1
_SERVICE_MANAGER: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)


class PrivateDaemon:
    """A context manager; inside it the daemon is ready. ``config`` None serves an empty configuration on any port."""

    def __init__(
        self,
        config: Path | None,
        state: Path,
        runtime: Path,
        variables: Mapping[str, str],
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._config = config
        self._program = program
        self._state = private(state)
        self._variables = {name: value for name, value in variables.items() if name not in _SERVICE_MANAGER}
        self._folder = _folder(private(runtime))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin(self) -> Path:
        """Its admin socket."""
        return self._folder / ADMIN_SOCKET

    @property
    def has_ended(self) -> bool:
        """Whether it ended without having been told to."""
        return self._process is not None and self._process.poll() is not None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def environment(self) -> Any:
        """Return its ``environment`` answer."""
        return rpc.call(self.admin, "environment")

    def output(self) -> str:
        """Return the end of what it printed."""
        with contextlib.suppress(FileNotFoundError), (self._folder / "output").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - SHOWN_BYTES))
            return file.read().decode(errors="replace").strip()
        return ""

    def _start(self) -> None:
        config = self._config
        if config is None:
            config = self._folder / "proxyd.yaml"
            config.write_text(DEFAULT_FILE)
        command = [*self._program, "run", "-c", str(config), "--admin", str(self.admin)]
        command += ["--state-dir", str(self._state), "--runtime-dir", str(self._folder)]
        notices = self._folder / "notify.sock"
        parent = os.getpid()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (self._folder / "output").open("wb") as output:
            ready.bind(str(notices))
            ready.settimeout(0.05)
            self._process = subprocess.Popen(
                command,
                env={**self._variables, "NOTIFY_SOCKET": str(notices)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the command
                preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 - there is one thread
            )
            self._wait(ready, self._process)

    def _wait(self, ready: socket.socket, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in ready.recv(4096).splitlines():
                    return
            if process.poll() is not None:
                code = process.returncode if process.returncode > 0 else 1
                raise CommandError(f"the private proxyd ended before it was ready:\n{self.output()}", code)
        raise CommandError(f"the private proxyd was not ready in {START_SECONDS:.0f} s:\n{self.output()}")

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()  # control and workers end with it
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _folder(runtime: Path) -> Path:
    """Make a folder whose sockets have short enough paths."""
    longest = len(os.fsencode(runtime)) + len(f"/exec-{'x' * 8}/{ADMIN_SOCKET}") + len(secrets.token_hex(8))
    parent = runtime if longest <= _SUN_PATH else Path("/tmp")  # noqa: S108 - mkdtemp's are private
    return Path(tempfile.mkdtemp(prefix="exec-", dir=parent))


def die_with(parent: int) -> None:
    """In the child, before it executes: end (SIGTERM) when the command that wanted it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
