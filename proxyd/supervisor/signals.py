"""Signals as bytes on a socket, so that one selector waits for everything."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final

HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


class Signals:
    """Catches HANDLED; ``fileno`` is readable when one came. Main thread only."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._former: dict[int, Any] = {number: signal.signal(number, _ignore) for number in HANDLED}
        self._former_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # those that an exec has kept waiting come now

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._read.fileno()

    def take(self) -> list[int]:
        """Return the numbers of the signals that came, in order."""
        with contextlib.suppress(BlockingIOError):
            return list(self._read.recv(4096))
        return []

    def close(self) -> None:
        """Restore what was before."""
        signal.set_wakeup_fd(self._former_fd)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self.abandon()

    def abandon(self) -> None:
        """Close this process's copies only, in a forked child."""
        self._read.close()
        self._write.close()


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has the signal's number already."""


def become_worker() -> None:
    """Set a forked child's dispositions: the supervisor alone hears the terminal and systemd, and says Drain."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def held() -> Iterator[set[Any]]:
    """Hold HANDLED back around a fork: a child must not write to its parent's wake-up socket."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield former
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
