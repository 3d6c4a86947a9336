"""The access log: workers' ACCESS records become JSON lines, appended in batches by a thread.

Encoding is on the hot side (20,000 records a second share two cores with the workers), so a record is checked by one
lookup: the tuple of its values' types is either known to be good or is examined once. Lines are printable ASCII
whatever a client chose; a query is never written.

Writing is on the slow side: a stalled disk or a reader that sleeps fills a bounded buffer, after which lines are
dropped and counted. A write that fails is reported once, and once more when lines reach the file again.
"""

import errno
import json
import os
import select
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from proxyd.core.events import ACCESS, ACCESS_FIELDS
from proxyd.core.units import KIB, MIB

STDOUT: Final = "-"
BUFFER_BYTES: Final = 8 * MIB
"""Lines that wait for the disk; what comes on top is dropped."""
BATCH_SECONDS: Final = 0.1
"""A line waits this long for company, unless there are already ``BATCH_BYTES``."""
BATCH_BYTES: Final = 256 * KIB
LINE_BYTES: Final = 256 * KIB
"""A longer line is taken for malformed: a URI is 8 KiB by default."""
FINAL_SECONDS: Final = 2.0
"""What the end of the process grants to the last batch."""
PIPE_SECONDS: Final = 1.0
"""How long a full non-blocking pipe on standard output may take."""

_NUMBER: Final = frozenset({float, int})
_TEXT: Final = frozenset({str})
_BYTES: Final = frozenset({bytes})
_NONE: Final = frozenset({type(None)})

_TYPES: Final[dict[str, frozenset[type]]] = {
    "time": _NUMBER,
    "uid": frozenset({int}) | _NONE,
    "user": _TEXT | _NONE,
    "method": _BYTES,
    "scheme": _BYTES,
    "path": _BYTES,
    "service": _TEXT | _NONE,
    "credential": _TEXT | _NONE,
    "status": frozenset({int}),
    "error": _TEXT | _NONE,
    "detail": _TEXT | _NONE,
    "endpoint": _TEXT | _NONE,
    "attempts": frozenset({int}),
    "reused": frozenset({bool}),
    "request_bytes": frozenset({int}),
    "response_bytes": frozenset({int}),
    "queue_ms": _NUMBER | _NONE,
    "connect_ms": _NUMBER | _NONE,
    "first_byte_ms": _NUMBER | _NONE,
    "total_ms": _NUMBER,
}
"""What a field may be; a field that is not named is text."""

_ALLOWED: Final = (frozenset({int}), *(_TYPES.get(name, _TEXT) for name in ACCESS_FIELDS))
_SIGNATURES: Final = 1024
"""Type signatures remembered; an honest worker has a few dozen."""

_REDACTED: Final = b"?<redacted>"

Report = Callable[[str, str], None]
"""Takes an event's name and its detail, for the daemon's log."""


class Encoder:
    """Turns one ACCESS record into one line; keeps what the next record can use again."""

    def __init__(self) -> None:
        self._good: set[tuple[type, ...]] = set()
        self._second = -1
        self._stamp = ""

    def encode(self, record: Sequence[Any]) -> bytes | None:
        """Return the line, None for a record that is malformed."""
        signature = tuple(map(type, record))
        if (signature not in self._good and not self._examine(signature)) or record[0] != ACCESS:
            return None
        # Unpacking and a literal build the dict three times faster than zip does.
        (
            _, moment, number, kind, listener, caller, uid, user, mode, method, scheme, authority, path, service,
            credential, status, flags, error, detail, origin, endpoint, attempts, reused, request_bytes,
            response_bytes, queue, connect, first_byte, total,
        ) = record  # fmt: skip
        try:
            query = path.find(b"?")
            if query >= 0:
                path = path[:query] + _REDACTED
            milliseconds = int(moment * 1000)
            second = milliseconds // 1000
            if second != self._second:
                self._stamp, self._second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)), second
            return _dump(
                {
                    "time": f"{self._stamp}.{milliseconds % 1000:03d}Z",
                    "id": number,
                    "kind": kind,
                    "listener": listener,
                    "caller": caller,
                    "uid": uid,
                    "user": user,
                    "mode": mode,
                    "method": method.decode("utf-8", "backslashreplace"),
                    "scheme": scheme.decode("utf-8", "backslashreplace"),
                    "authority": authority,
                    "path": path.decode("utf-8", "backslashreplace"),
                    "service": service,
                    "credential": credential,
                    "status": status,
                    "flags": flags,
                    "error": error,
                    "detail": detail,
                    "origin": origin,
                    "endpoint": endpoint,
                    "attempts": attempts,
                    "reused": reused,
                    "request_bytes": request_bytes,
                    "response_bytes": response_bytes,
                    "queue_ms": queue and round(queue, 3),
                    "connect_ms": connect and round(connect, 3),
                    "first_byte_ms": first_byte and round(first_byte, 3),
                    "total_ms": round(total, 3),
                }
            )
        except (ValueError, TypeError, OverflowError):  # a lone surrogate, a time that is no time
            return None

    def _examine(self, signature: tuple[type, ...]) -> bool:
        if len(signature) != len(_ALLOWED):
            return False
        if not all(kind in allowed for kind, allowed in zip(signature, _ALLOWED, strict=True)):
            return False
        if len(self._good) >= _SIGNATURES:
            self._good.clear()
        self._good.add(signature)
        return True


class AccessLog:
    """Where lines go. ``open`` before ``run``; ``add`` never waits; ``run`` ends when it is cancelled."""

    def __init__(self, report: Report, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.malformed = 0
        """Records dropped because they did not fit the schema."""
        self.lost = 0
        """Lines dropped: no room, or the file could not be written."""
        self._report = report
        self._buffer_bytes = buffer_bytes
        self._encode = Encoder().encode
        self._buffer = bytearray()  # keeping the encoder's own objects costs as much as encoding did
        self._lines = 0
        self._wake = trio.Event()
        self._full = trio.Event()
        self._path = ""
        self._writing = trio.Lock()
        self._descriptor: int | None = None
        self._retired: list[int] = []
        self._failing = False
        self._torn = False

    def __repr__(self) -> str:
        return f"<AccessLog {self._path or 'closed'} waiting={self._lines} lost={self.lost}>"

    def open(self, path: str) -> None:
        """Write to ``path`` from now on; the same path again follows a log rotation. OSError: nothing has changed."""
        if self._descriptor is not None and path == self._path and not self._moved():
            return
        if path == STDOUT:
            descriptor = os.dup(1)
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o640)
        if self._descriptor is not None:
            self._retired.append(self._descriptor)  # a thread may be writing to it
        self._descriptor, self._path, self._torn = descriptor, path, False

    def close(self) -> None:
        """Write nothing any more: the access log was switched off. Lines that wait are dropped, counted."""
        if self._descriptor is not None:
            self._retired.append(self._descriptor)
        self._descriptor, self._path = None, ""
        self.lost += self._lines
        self._buffer, self._lines = bytearray(), 0

    def add(self, records: Iterable[Sequence[Any]]) -> None:
        """Take ACCESS records of one batch."""
        if self._descriptor is None:
            return
        buffer, encode, room = self._buffer, self._encode, self._buffer_bytes - len(self._buffer)
        for record in records:
            line = encode(record)
            if line is None:
                self.malformed += 1
            elif len(line) > room:
                self.lost += 1
            else:
                buffer += line
                room -= len(line)
                self._lines += 1
        if buffer:
            self._wake.set()
        if len(buffer) >= BATCH_BYTES:
            self._full.set()

    async def run(self) -> None:
        """Write batches until cancelled, then the last one within ``FINAL_SECONDS``."""
        try:
            while True:
                await self._wake.wait()
                with trio.move_on_after(BATCH_SECONDS):
                    await self._full.wait()
                await self.flush()
        finally:
            with trio.move_on_after(FINAL_SECONDS, shield=True):
                await self.flush()

    async def flush(self) -> None:
        """Write what waits now. A cancelled flush leaves its thread to finish the batch."""
        async with self._writing:
            batch, count, descriptor = self._buffer, self._lines, self._descriptor
            self._buffer, self._lines = bytearray(), 0
            self._wake, self._full = trio.Event(), trio.Event()
            retired, self._retired = self._retired, []
            if batch and descriptor is not None:
                if self._torn:
                    batch[:0] = b"\n"
                written, problem = await trio.to_thread.run_sync(_append, descriptor, batch, abandon_on_cancel=True)
                self._settle(batch, written, count, problem)
            for old in retired:
                os.close(old)

    def _settle(self, data: bytearray, written: int, count: int, problem: OSError | None) -> None:
        self._torn = (bool(written) and data[written - 1] != 0x0A) or (not written and self._torn)
        if problem is None:
            if self._failing:
                self._report("access_log_resumed", f"{self._path}: {self.lost} lines were lost so far")
            self._failing = False
            return
        self.lost += min(count, data.count(b"\n", written))
        if not self._failing:
            self._report("access_log_failed", f"{self._path}: {problem.strerror}; lines are lost until it is writable")
        self._failing = True

    def _moved(self) -> bool:
        """Whether the path no longer leads to the open file."""
        if self._path == STDOUT or self._descriptor is None:
            return False
        here = os.fstat(self._descriptor)
        if not stat.S_ISREG(here.st_mode):
            return True  # a FIFO or a device: open it again, it costs nothing
        try:
            there = Path(self._path).stat()
        except FileNotFoundError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)


def _dump(fields: dict[str, Any]) -> bytes | None:
    line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    if not line.isascii():
        line = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if b"\x7f" in line:
        line = line.replace(b"\x7f", b"\\u007f")
    return line if len(line) <= LINE_BYTES else None


def _append(descriptor: int, data: bytearray) -> tuple[int, OSError | None]:
    """Write all of ``data``, in one call unless the kernel takes less; return how much, and what stopped it."""
    view, done = memoryview(data), 0
    while done < len(data):
        try:
            done += os.write(descriptor, view[done:])
        except BlockingIOError:
            if not _writable(descriptor):
                return done, OSError(errno.EAGAIN, "the reader of standard output takes nothing")
        except OSError as error:
            return done, error
    return done, None


def _writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(int(PIPE_SECONDS * 1000)))
