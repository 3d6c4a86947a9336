"""The file that lines are appended to. Every method may block: they are called in a thread.

No line is ever torn but by the loss of the machine: where a write ends within a line, because the disk is full, the
piece is cut off again; where it cannot be (a pipe), its rest goes first with the next write.
"""

import errno
import os
import select
import stat
import threading
import time
from pathlib import Path
from typing import Final

STDOUT: Final = "-"
LOOK_SECONDS: Final = 1.0
"""Between looks whether the file has been moved away."""
PIPE_SECONDS: Final = 1.0
"""How long a full non-blocking pipe may take."""

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""Non-blocking for FIFOs: without a reader their open would never return."""


class LogFile:
    """One path. A file that was moved away is left, and made anew, at most a second later."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._using = threading.Lock()
        self._descriptor: int | None = None
        self._closing = False
        self._rest = b""
        """What is missing of the line that the last write tore."""
        self._looked = 0.0
        self._broken = False
        """The reader of a pipe has gone."""

    def open(self) -> None:
        """Open the path unless it is open already. OSError: what was open before is still."""
        with self._using:
            self._open()

    def write(self, data: bytearray) -> tuple[int, OSError | None, OSError | None]:
        """Append lines; return how many are lost, what stopped them, and what kept a moved file from being opened."""
        with self._using:
            try:
                moved = self._follow()
                if self._descriptor is None:
                    return data.count(b"\n"), OSError(errno.EBADF, "the file is closed"), moved
                done, problem = _append(self._descriptor, self._rest + data if self._rest else data)
                self._broken = problem is not None and problem.errno == errno.EPIPE
                return self._settle(data, done - len(self._rest), problem), problem, moved
            finally:
                if self._closing:
                    self._close()

    def close(self) -> None:
        """Close now, or as soon as the write that is going on has ended."""
        self._closing = True
        if self._using.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._using.release()

    def _open(self) -> None:
        if self._closing or (self._descriptor is not None and not self._moved()):
            return
        descriptor = os.dup(1) if self.path == STDOUT else os.open(self.path, _FLAGS, 0o640)
        self._close()
        self._descriptor, self._broken = descriptor, False
        self._rest = b"\n" if self._ends_within_a_line() else b""
        self._looked = time.monotonic()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _follow(self) -> OSError | None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        try:
            if self._broken or (self._is_regular() and self._moved()):
                self._open()
        except OSError as error:
            return error
        return None

    def _moved(self) -> bool:
        """Whether the path no longer leads to the open file."""
        if self.path == STDOUT or self._descriptor is None:
            return False
        if not self._is_regular():
            return True  # a FIFO or a device: open it again, it costs nothing
        here = os.fstat(self._descriptor)
        try:
            there = Path(self.path).stat()
        except FileNotFoundError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)

    def _is_regular(self) -> bool:
        return self._descriptor is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def _ends_within_a_line(self) -> bool:
        """Whether what is there already lacks its end: the machine was lost while it was written."""
        if not self._is_regular():
            return False
        try:
            with Path(self.path).open("rb") as file:
                return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        except OSError:  # it may be written but not read
            return False

    def _settle(self, data: bytearray, done: int, problem: OSError | None) -> int:
        """Mend what a write left that took ``done`` bytes of ``data``; return how many lines are lost."""
        if done < 0:  # the rest of the torn line did not go through
            self._rest = self._rest[len(self._rest) + done :]
            return data.count(b"\n")
        self._rest = b""
        if problem is None:
            return 0
        begun = data.rfind(b"\n", 0, done) + 1
        lost = data.count(b"\n", begun)
        if begun < done and not self._cut(done - begun):
            self._rest = bytes(data[done : data.index(b"\n", done) + 1])
            lost -= 1
        return lost

    def _cut(self, count: int) -> bool:
        """Take the last ``count`` bytes off the file again; False where it is none, or others have written to it."""
        if self._descriptor is None or not self._is_regular():
            return False
        try:
            end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            if os.fstat(self._descriptor).st_size != end:
                return False
            os.ftruncate(self._descriptor, end - count)
        except OSError:
            return False
        return True


def _append(descriptor: int, data: bytes | bytearray) -> tuple[int, OSError | None]:
    """Write all of ``data``, in one call unless the kernel takes less; return how much, and what stopped it."""
    view, done = memoryview(data), 0
    while done < len(data):
        try:
            done += os.write(descriptor, view[done:])
        except BlockingIOError:
            if not _writable(descriptor):
                return done, OSError(errno.EAGAIN, "the reader of the pipe takes nothing")
        except OSError as error:
            return done, error
    return done, None


def _writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(int(PIPE_SECONDS * 1000)))
