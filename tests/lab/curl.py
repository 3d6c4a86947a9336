"""curl through a daemon's forward listener, trusting its local CA."""

import subprocess

from tests.lab.daemon import Daemon
from tests.lab.tools import require_tool


def curl(daemon: Daemon, url: str, *options: str, seconds: float = 100) -> "subprocess.CompletedProcess[str]":
    """Fetch ``url``; a status of 400 or more is no error unless ``options`` say so."""
    command = [require_tool("curl"), "-sS", "--proxy", daemon.url, "--cacert", str(daemon.ca), *options, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def fetch(daemon: Daemon, url: str, *options: str, seconds: float = 100) -> str:
    """Fetch ``url`` and return the body; AssertionError unless the status is a success."""
    done = curl(daemon, url, "--fail", *options, seconds=seconds)
    assert done.returncode == 0, f"{done.stderr}\n{daemon.stderr}"
    return done.stdout
