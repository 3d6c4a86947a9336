"""A real Redis or Valkey from the machine, for tests that kill, stop and restart it."""

import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


class Redis:
    """One server whose data outlives it. Use as a context manager; options are redis-server's own."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self._options = ["--port", str(port), "--unixsocket", str(self.socket), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        assert PROGRAM is not None, "no redis-server on this machine: apt-get install redis-server"
        command = [PROGRAM, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir", str(self.folder)]
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        said = b""
        for line in self._process.stdout:
            said += line
            if b"eady to accept connections" in line:
                return
        raise AssertionError(f"redis-server ended:\n{said.decode(errors='replace')}")

    def kill(self) -> None:
        """SIGKILL, as in an accident."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: it is there and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
