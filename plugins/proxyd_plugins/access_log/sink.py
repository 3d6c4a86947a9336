"""Lines gather in a bounded buffer and are appended in batches by a thread.

A stalled disk or a reader that sleeps fills the buffer, after which lines are lost and counted. A write that fails is
reported once, and once more when lines reach the file again; meanwhile ``proxyd status`` shows it.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from proxyd.sdk import ACCESS, Batch, Host, Sink
from proxyd_plugins.access_log.file import STDOUT, LogFile
from proxyd_plugins.access_log.lines import Encoder

BUFFER_BYTES: Final = 8 * 1024 * 1024
"""Lines that wait for the disk; what comes on top is lost."""
BATCH_SECONDS: Final = 0.1
"""A line waits this long for company, unless there are already ``BATCH_BYTES``."""
BATCH_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """Where the lines go."""

    path: str
    """A file, relative to the state folder; ``-`` is standard output."""


class AccessLog(Sink):
    """Appends one JSON line per exchange to a file."""

    options_type = Options

    def __init__(self, options: Options, host: Host, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        super().__init__(options, host)
        path = options.path if options.path == STDOUT else str(Path(host.state_dir) / options.path)
        self._file = LogFile(path)
        self._buffer_bytes = buffer_bytes
        self._encode = Encoder().encode
        self._buffer = bytearray()  # keeping the encoder's own objects costs as much as encoding did
        self._lines = 0
        self._lost = 0
        self._wake = trio.Event()
        self._full = trio.Event()
        self._writing = trio.Lock()
        self._failing = False
        self._lost_sight = False

    def __repr__(self) -> str:
        return f"<AccessLog {self._file.path} waiting={self._lines} lost={self._lost}>"

    async def open(self) -> None:
        """Open the file. OSError."""
        await trio.to_thread.run_sync(self._file.open, abandon_on_cancel=True)

    async def run(self) -> None:
        """Write batches."""
        while True:
            await self._wake.wait()
            with trio.move_on_after(BATCH_SECONDS):
                await self._full.wait()
            await self.flush()

    async def events(self, batch: Batch) -> None:
        """Make lines; never waits."""
        records, buffer = batch.of(ACCESS), self._buffer
        written, malformed = self._encode(records, buffer, self._buffer_bytes)
        self._lines += written
        if written < len(records):
            self._lose(malformed, "malformed")
            self._lose(len(records) - written - malformed, "full")
        if buffer:
            self._wake.set()
        if len(buffer) >= BATCH_BYTES:
            self._full.set()

    async def flush(self) -> None:
        """Write what waits now. A cancelled flush leaves its thread to finish the batch."""
        async with self._writing:
            batch = self._buffer
            self._buffer, self._lines = bytearray(), 0
            self._wake, self._full = trio.Event(), trio.Event()
            if batch:
                write = partial(self._file.write, batch)
                self._settle(*await trio.to_thread.run_sync(write, abandon_on_cancel=True))

    async def reopen(self) -> None:
        """Follow a rotation at once."""
        async with self._writing:
            problem: OSError | None = None
            try:
                await trio.to_thread.run_sync(self._file.open, abandon_on_cancel=True)
            except OSError as error:
                problem = error
            self._follow(problem)

    async def aclose(self) -> None:
        """Write nothing any more; lines that still wait are lost."""
        self._lose(self._lines, "closed")
        self._buffer, self._lines = bytearray(), 0
        self._file.close()

    def _lose(self, count: int, why: str) -> None:
        if count:
            self._lost += count
            self.host.lost(count, why)

    def _settle(self, lost: int, problem: OSError | None, moved: OSError | None) -> None:
        self._follow(moved)
        self._lose(lost, "failed")
        path = self._file.path
        if problem is None and self._failing:
            self.host.log("warning", "access_log_resumed", f"{path}: {self._lost} lines were lost so far")
            self.host.problem("")
        elif problem is not None and not self._failing:
            text = f"{path}: {problem.strerror}; lines are lost until it is writable"
            self.host.log("warning", "access_log_failed", text)
            self.host.problem(text)
        self._failing = problem is not None

    def _follow(self, problem: OSError | None) -> None:
        """Say once that a file which was moved away cannot be made anew: lines go on into the moved one."""
        if problem is not None and not self._lost_sight:
            text = f"{self._file.path}: {problem.strerror}; lines go to the file that was moved away"
            self.host.log("warning", "access_log_not_reopened", text)
        self._lost_sight = problem is not None
