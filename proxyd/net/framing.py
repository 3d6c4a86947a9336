"""Frames over a Unix stream socket, without a loop: four bytes of length (big endian), then an opaque payload.

Descriptors travel by SCM_RIGHTS with a frame's first byte. The receiver queues them in order; whoever decodes a
payload knows how many belong to it and takes that many before it receives the next frame. Everything received is
CLOEXEC, and whatever nobody took is closed with the link.

``FrameReader`` is pure. ``net.frames`` moves frames under trio; the supervisor, which never imports trio before
control runs, has a link of its own.
"""

import contextlib
import os
import socket
import struct
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from proxyd.core.units import KIB, MIB

MAX_FDS: Final = 250
"""Descriptors beside one frame; the kernel takes 253 (SCM_MAX_FD)."""
MAX_SEND: Final = 16 * MIB

_HEADER: Final = struct.Struct(">I")
_CHUNK: Final = 64 * KIB
_INT_BYTES: Final = array("i").itemsize
_ANCILLARY: Final = socket.CMSG_SPACE(253 * _INT_BYTES)


class LinkClosed(Exception):
    """The link is over: the peer closed it, broke a rule or is gone, or a frame of ours was cut short."""


class FrameReader:
    """Cuts a byte stream into payloads and queues the descriptors that came with it.

    A broken rule is not raised but kept in ``violation``, so that frames before it are still delivered: one big chunk
    means the same as byte at a time.
    """

    __slots__ = ("_buffer", "_fds", "_max_fds", "_max_frame", "violation")

    def __init__(self, max_frame: int, *, accepts_fds: bool = True) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._max_frame = max_frame
        self._max_fds = 2 * MAX_FDS if accepts_fds else 0
        self.violation: str | None = None
        """Which rule the peer broke; nothing is read after that."""

    def feed(self, data: bytes, fds: Sequence[int] = ()) -> list[bytes]:
        """Return the payloads that ``data`` completes; takes ownership of ``fds``."""
        self._fds.extend(fds)
        if self.violation is None and len(self._fds) > self._max_fds:
            self.violation = "descriptors that no frame claims"
        if self.violation is not None:
            self.close()
            return []
        self._buffer += data
        return self._cut()

    def take_fds(self, count: int) -> list[int]:
        """Return the oldest ``count`` descriptors, now the caller's to close; ValueError when there are fewer."""
        if count > len(self._fds):
            raise ValueError(f"{count} descriptors were expected, {len(self._fds)} came")
        return [self._fds.popleft() for _ in range(count)]

    @property
    def is_midway(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return bool(self._buffer)

    @property
    def buffered(self) -> bytes:
        """The beginning of a frame that is not complete."""
        return bytes(self._buffer)

    def close(self) -> None:
        """Close the descriptors that nobody took and drop what is buffered."""
        close_fds(self._fds)
        self._fds.clear()
        self._buffer.clear()

    def _cut(self) -> list[bytes]:
        payloads: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._buffer, start)
            if not 0 < size <= self._max_frame:
                self.violation = f"a frame of {size} bytes, allowed are 1 to {self._max_frame}"
                break
            end = start + _HEADER.size + size
            if end > len(self._buffer):
                break
            payloads.append(bytes(memoryview(self._buffer)[start + _HEADER.size : end]))
            start = end
        del self._buffer[:start]
        return payloads


def frame_header(payload: bytes, fds: Sequence[int], max_send: int) -> bytes:
    """Return the header that goes before ``payload``; ValueError when the frame is one that no peer accepts."""
    if not 0 < len(payload) <= max_send:
        raise ValueError(f"a frame holds 1 to {max_send} bytes, not {len(payload)}")
    if len(fds) > MAX_FDS:
        raise ValueError(f"a frame carries at most {MAX_FDS} descriptors, not {len(fds)}")
    return _HEADER.pack(len(payload))


def receive_chunk(sock: socket.socket, *, accepts_fds: bool) -> tuple[bytes, list[int]]:
    """Read once from a non-blocking socket: (bytes, descriptors), empty bytes at the end.

    Raises BlockingIOError and OSError as recvmsg does, and LinkClosed when descriptors came that could not be
    had: unwanted ones, or too many for the process's limit.
    """
    data, ancillary, flags, _ = sock.recvmsg(_CHUNK, _ANCILLARY if accepts_fds else 0, socket.MSG_CMSG_CLOEXEC)
    fds = array("i")
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % _INT_BYTES])
    if flags & socket.MSG_CTRUNC:
        close_fds(fds)
        raise LinkClosed("descriptors came that were not wanted, or that the limit of open files has no room for")
    return data, fds.tolist()


def close_fds(fds: Iterable[int]) -> None:
    """Close each descriptor; one that is closed already is no error."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
