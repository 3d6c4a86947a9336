"""The supervisor's end of a link: the frames of ``net.framing`` without a loop.

Nothing here waits. What the peer does not take is queued up to a bound; beyond it the link is over, for the peer has
not read for very long.
"""

import os
import selectors
import socket
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxyd.core.units import MIB
from proxyd.net.framing import FrameReader, LinkClosed, close_fds, frame_header, receive_chunk

MAX_QUEUED: Final = 1 * MIB
"""Bytes of frames that wait for the peer."""
MAX_QUEUED_FRAMES: Final = 4096


@dataclass(slots=True)
class Outgoing:
    """What is left of a frame to send."""

    rest: bytes
    fds: list[int]
    """Duplicates, closed once they went."""


class BufferedLink:
    """Sends and receives frames on a non-blocking socket, which it owns; descriptors are sent, never accepted."""

    def __init__(
        self, sock: socket.socket, max_frame: int, received: bytes = b"", queue: Sequence[Outgoing] = ()
    ) -> None:
        """``received`` and ``queue`` are what ``pending`` said of the same link before an exec."""
        sock.setblocking(False)
        self._sock = sock
        self._reader = FrameReader(max_frame, accepts_fds=False)
        self._reader.feed(received)
        self._queue: deque[Outgoing] = deque(queue)
        self._queued = sum(len(outgoing.rest) for outgoing in queue)

    def __repr__(self) -> str:
        return f"<BufferedLink fd={self.fileno()} queued={self._queued}>"

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""
        return self._sock.fileno()

    @property
    def is_open(self) -> bool:
        """Whether the link was not closed on this side."""
        return self.fileno() >= 0

    @property
    def interest(self) -> int:
        """The selector events that the link waits for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._queue else 0)

    def send(self, payload: bytes, fds: Sequence[int] = ()) -> None:
        """Send one frame or queue it; the descriptors stay the caller's. Raises LinkClosed when the link is over."""
        frame = frame_header(payload, fds, MAX_QUEUED) + payload
        if not self.is_open:
            raise LinkClosed("closed on this side")
        sent = self._transmit(frame, fds) if not self._queue else 0
        if sent == len(frame):
            return
        if self._queued + len(frame) > MAX_QUEUED or len(self._queue) >= MAX_QUEUED_FRAMES:
            raise LinkClosed("the peer does not read")
        self._queued += len(frame) - sent
        self._queue.append(Outgoing(frame[sent:], [] if sent else _duplicates(fds)))

    def flush(self) -> None:
        """Send what is queued, as far as the peer takes it. Raises LinkClosed when the peer is gone."""
        while self._queue:
            head = self._queue[0]
            sent = self._transmit(head.rest, head.fds)
            if not sent:
                return
            close_fds(head.fds)
            head.fds = []
            head.rest = head.rest[sent:]
            self._queued -= sent
            if not head.rest:
                self._queue.popleft()

    def receive(self) -> list[bytes] | None:
        """Read once and return the payloads that are complete, None at the end.

        What breaks a rule is LinkClosed, or stands in ``violation`` when good frames came before it.
        """
        try:
            data, fds = receive_chunk(self._sock, accepts_fds=False)
        except BlockingIOError:
            return []
        except OSError:  # ECONNRESET: the peer is gone without having read all
            return None
        if not data:
            return None
        return self._reader.feed(data, fds)

    @property
    def pending(self) -> tuple[bytes, list[Outgoing]]:
        """The beginning of a frame that was received, and what is still to be sent."""
        return self._reader.buffered, list(self._queue)

    @property
    def violation(self) -> str | None:
        """The rule that the peer broke; the link gives nothing more."""
        return self._reader.violation

    def close(self) -> None:
        """Close the socket and forget what is queued."""
        for outgoing in self._queue:
            close_fds(outgoing.fds)
        self._queue.clear()
        self._queued = 0
        self._reader.close()
        self._sock.close()

    def _transmit(self, data: bytes, fds: Sequence[int]) -> int:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
        try:
            return self._sock.sendmsg([data], rights)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkClosed(f"the peer is gone ({error.strerror})") from error


def _duplicates(fds: Sequence[int]) -> list[int]:
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))  # noqa: PERF401 - a failure halfway must close those made before
    except OSError as error:
        close_fds(copies)
        raise LinkClosed(f"no descriptor left for the peer's ({error.strerror})") from error
    return copies
