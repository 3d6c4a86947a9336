"""Frames over a Unix stream socket: four bytes of length (big endian), then an opaque payload, and descriptors beside.

Descriptors travel by SCM_RIGHTS with a frame's first byte. The receiver queues them in order; whoever decodes a
payload knows how many belong to it and takes that many before it receives the next frame. Everything received is
CLOEXEC, and whatever nobody took is closed with the link.

``FrameReader`` is pure; ``FrameLink`` moves frames under trio; the supervisor has a link of its own that needs no
loop and shares ``frame_header`` and ``receive_chunk``.
"""

import contextlib
import os
import socket
import struct
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Self

import trio

from proxyd.core.units import KIB, MIB

MAX_FDS: Final = 250
"""Descriptors beside one frame; the kernel takes 253 (SCM_MAX_FD)."""
MAX_SEND: Final = 16 * MIB

_HEADER: Final = struct.Struct(">I")
_CHUNK: Final = 64 * KIB
_INT_BYTES: Final = array("i").itemsize
_ANCILLARY: Final = socket.CMSG_SPACE(253 * _INT_BYTES)

_Waiter = Callable[[socket.socket], Awaitable[None]]


class LinkClosed(Exception):  # noqa: N818 - a state of the link, as trio's own ClosedResourceError is
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


class FrameLink:
    """A link to another process under trio: any number of senders, one receiver.

    The link owns its socket. After LinkClosed was raised it is of no more use and is to be closed.
    """

    def __init__(
        self, sock: socket.socket, max_frame: int, *, max_send: int = MAX_SEND, accepts_fds: bool = True
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._max_send = max_send
        self._accepts_fds = accepts_fds
        self._reader = FrameReader(max_frame, accepts_fds=accepts_fds)
        self._ready: deque[bytes] = deque()
        self._send_lock = trio.Lock()
        self._closed: str | None = None

    @classmethod
    def from_fd(cls, fd: int, max_frame: int, *, max_send: int = MAX_SEND, accepts_fds: bool = True) -> Self:
        """Make a link of a descriptor, which becomes the link's own."""
        return cls(socket.socket(fileno=fd), max_frame, max_send=max_send, accepts_fds=accepts_fds)

    def __repr__(self) -> str:
        return f"<FrameLink fd={self._sock.fileno()} {self._closed or 'open'}>"

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be sent or received."""
        return self._closed is not None

    async def send(self, payload: bytes, fds: Sequence[int] = ()) -> None:
        """Send one frame; the descriptors stay the caller's, to be closed afterwards.

        Frames of concurrent senders never mix. Cancelled before its first byte went, the frame is not sent; cancelled
        later, it closes the link, for the peer could not find the next frame. Raises LinkClosed, and ValueError for
        what no peer would accept.
        """
        header = frame_header(payload, fds, self._max_send)
        async with self._send_lock:
            self._raise_if_closed()
            sent = 0
            total = len(header) + len(payload)
            try:
                sent = await self._send_start(header, payload, fds)
                view = memoryview(payload)
                while sent < total:
                    sent += await self._send_some([view[sent - len(header) :]])
            finally:
                if 0 < sent < total:
                    self._end("a frame was cut short")

    async def receive(self) -> bytes:
        """Return the next payload. Cancellation loses nothing. Raises LinkClosed once no more can come."""
        if self._ready:
            await trio.lowlevel.checkpoint()
        while not self._ready:
            self._raise_if_closed()
            if self._reader.violation is not None:
                self._end(f"the peer broke a rule: {self._reader.violation}")
                continue
            await self._fill()
        return self._ready.popleft()

    def take_fds(self, count: int) -> list[int]:
        """Return the descriptors of the frame received last, now the caller's to close.

        Raises LinkClosed, and closes the link, when fewer came: every later descriptor would be taken for another.
        """
        try:
            return self._reader.take_fds(count)
        except ValueError as error:
            self._end(f"the peer broke a rule: {error}")
            raise LinkClosed(self._closed) from None

    def close(self) -> None:
        """Close the socket and every descriptor that nobody took; whoever waits on the link gets LinkClosed."""
        self._end("closed on this side")

    async def _send_start(self, header: bytes, payload: bytes, fds: Sequence[int]) -> int:
        if not fds:
            return await self._send_some([header, payload])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))]
        return await self._send_some([header, payload], rights)

    async def _send_some(
        self, parts: Sequence[bytes | memoryview], rights: "Sequence[tuple[int, int, array[int]]]" = ()
    ) -> int:
        while True:
            try:
                return self._sock.sendmsg(parts, rights)
            except BlockingIOError:
                await self._wait(trio.lowlevel.wait_writable)
            except OSError as error:
                self._end(f"the peer is gone ({error.strerror})")
                self._raise_if_closed()

    async def _fill(self) -> None:
        await self._wait(trio.lowlevel.wait_readable)
        try:
            data, fds = receive_chunk(self._sock, accepts_fds=self._accepts_fds)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"the peer is gone ({error.strerror})")
            return
        except LinkClosed as error:
            self._end(str(error))
            return
        if not data:
            close_fds(fds)
            midway = self._reader.is_midway
            self._end("the peer closed the link" + (" in the middle of a frame" if midway else ""))
            return
        self._ready.extend(self._reader.feed(data, fds))

    async def _wait(self, wait: _Waiter) -> None:
        try:
            await wait(self._sock)
        except trio.ClosedResourceError:
            self._raise_if_closed()
            raise

    def _raise_if_closed(self) -> None:
        if self._closed is not None:
            raise LinkClosed(self._closed)

    def _end(self, why: str) -> None:
        if self._closed is not None:
            return
        self._closed = why
        self._reader.close()
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


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
