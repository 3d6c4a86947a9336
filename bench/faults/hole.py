"""A network namespace beside this one, joined by a veth pair, that can be made to swallow every packet."""

import os
import shutil
import subprocess

from bench.processes import StartError

NETWORK = "10.254.77"
OURS = f"{NETWORK}.1"
THEIRS = f"{NETWORK}.2"


class Hole:
    """The namespace; use it as a context manager."""

    def __init__(self) -> None:
        self.name = f"bench-faults-{os.getpid()}"
        self._near, self._far = f"bf{os.getpid()}a", f"bf{os.getpid()}b"

    @property
    def inside(self) -> tuple[str, ...]:
        """The words before a command that is to run in it."""
        return ("ip", "netns", "exec", self.name)

    def __enter__(self) -> "Hole":
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
            _ip("addr", "add", f"{OURS}/30", "dev", self._near)
            _ip("link", "set", self._near, "up")
            self._within("addr", "add", f"{THEIRS}/30", "dev", self._far)
            self._within("link", "set", self._far, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The kernel takes its time with a namespace; its half of the pair goes with ours at once
        subprocess.run(["ip", "link", "del", self._near], check=False, capture_output=True, timeout=10)
        _ip("netns", "del", self.name)

    def open(self) -> None:
        """From now on no packet comes out: whoever sends into it hears nothing, not even a refusal."""
        self._within("route", "add", "blackhole", f"{OURS}/32")

    def _within(self, *words: str) -> None:
        _ip("-n", self.name, *words)


def obstacle() -> str:
    """Why there can be no namespace here; empty where there can."""
    if os.geteuid() != 0:
        return "a network namespace wants root"
    if not shutil.which("ip"):
        return "a network namespace wants the program ip (Debian package iproute2)"
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    return f"no network namespaces here: {done.stderr.strip()}" if done.returncode else ""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise StartError(f"`ip {' '.join(words)}` failed: {done.stderr.strip()}")
