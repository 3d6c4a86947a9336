"""One process tree that the bench started: its start, its cost and its end."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

POLL = 0.005  # seconds between two looks at a process that is starting
STOP_PATIENCE = 8.0  # seconds from SIGTERM to SIGKILL
CARRIED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "SSL_CERT_FILE", "SSL_CERT_DIR")


class StartError(Exception):
    """A process ended, or did not answer, before it was of use; the text says why."""


def plain_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment without proxy variables, so that no figure depends on the caller's shell."""
    return {name: os.environ[name] for name in CARRIED if name in os.environ} | dict(extra or {})


def pause(seconds: float) -> None:
    """Let the machine settle for ``seconds``."""
    threading.Event().wait(seconds)


class Tree:
    """A process and all that it forks, in a session of its own; output goes to ``log``."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.log = log
        with log.open("ab") as output:
            self._root = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=plain_environment(environment),
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return once ``ready()``; StartError with the log's end when the process exits or time is up."""
        for _ in range(int(seconds / POLL)):
            if ready():
                return
            with suppress(subprocess.TimeoutExpired):
                code = self._root.wait(POLL)
                raise StartError(f"{self.command[0]} exited with {code}: {self.log_end()}")
        raise StartError(f"{self.command[0]} did not answer within {seconds:g} s: {self.log_end()}")

    def log_end(self, characters: int = 600) -> str:
        """The last lines of what the process printed, on one line."""
        return " | ".join(self.log.read_text(errors="replace")[-characters:].split("\n")).strip(" |")

    def pids(self) -> list[int]:
        """The living members of the tree, the root first."""
        try:
            root = psutil.Process(self._root.pid)
            return [root.pid, *(child.pid for child in root.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """User and system time of the tree, members that were reaped meanwhile included."""
        total = 0.0
        for pid in self.pids():
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def pss_bytes(self) -> int:
        """Proportional set size of the tree: shared pages count once, divided among those who share them."""
        return sum(_pss(pid) for pid in self.pids())

    def kill(self) -> None:
        """SIGKILL for every member, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._root.pid, signal.SIGKILL)
        self._root.wait()

    def stop(self) -> None:
        """End the tree, politely first; returns when no member is left."""
        members = self.pids()
        with suppress(ProcessLookupError):
            self._root.send_signal(signal.SIGTERM)
        try:
            self._root.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self._root.kill()
            self._root.wait()
        survivors = [psutil.Process(pid) for pid in members if pid != self._root.pid and _is_ours(pid, self._root.pid)]
        for survivor in survivors:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(survivors, timeout=STOP_PATIENCE)


def _is_ours(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
