"""Frames (net.framing) moved under trio: any number of senders, one receiver."""

import socket
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

import trio

from proxyd.net.framing import MAX_SEND, FrameReader, LinkClosed, close_fds, frame_header, receive_chunk

_Waiter = Callable[[socket.socket], Awaitable[None]]


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
