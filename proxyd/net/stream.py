"""Byte streams on raw non-blocking sockets, without per-wait cancel scopes.

A deadline is a number on the stream; the reaper (net.reaper) closes what is late, and the waiter maps the closed
socket by the recorded reason. One task reads and one task writes at any time. ``receive`` waits before it tries,
for places where data cannot be there yet; ``receive_ready`` tries first. Both return ``b""`` at the end.
"""

import math
import select
import socket
from collections.abc import Callable
from typing import Final

import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    Task,
    checkpoint,
    current_task,
    notify_closing,
    reschedule,
    wait_task_rescheduled,
    wait_writable,
)

from proxyd.core.units import KIB
from proxyd.net import readiness

NEVER: Final = math.inf

SMALL_READ: Final = 16 * KIB
LARGE_READ: Final = 64 * KIB

GONE: Final = (OSError, trio.ClosedResourceError, ValueError)
"""What a socket meets that was closed: in use, during a wait, before it (trio refuses descriptor -1 by ValueError)."""

_LIFE_SIGNS: Final = select.POLLIN | select.POLLRDHUP

BURST: Final = 16
"""Calls that a task makes without a wait before it lets others run (HOUSE: fairness)."""


NO_GOODBYE: Final = "the stream ended without close_notify"
"""Why a TLS stream broke that its peer just closed: an error where nothing else says that all has come."""


class StreamError(Exception):
    """A stream that carries nothing more."""


class Late(StreamError):
    """The reaper, a drain or the other side of the exchange closed the stream; ``reason`` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Broken(StreamError):
    """The transport failed: reset, broken pipe, TLS error, an end without close_notify."""


class Stream:
    """A TCP or Unix socket. The creator registers it with the reaper and closes it."""

    __slots__ = (
        "_burst",
        "_poll",
        "_readiness",
        "busy_since",
        "deadline",
        "ended",
        "hangup",
        "late",
        "over",
        "ready",
        "sent",
        "sock",
        "stall",
        "waiter",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.deadline = NEVER
        """Monotonic seconds (trio.current_time) at which the reaper closes the stream."""
        self.late = "idle"
        """Why, when the deadline passes."""
        self.ended: str | None = None
        """Why the stream was closed, once it is."""
        self.busy_since = NEVER
        """Since when an exchange runs: the reaper then looks for the peer's FIN."""
        self.hangup: Callable[[], None] | None = None
        """Called when the peer's FIN is seen during an exchange."""
        self.stall = NEVER
        """Seconds that a send may wait for room, each time; what is sent at once costs no clock."""
        self.sent = 0
        """Bytes handed to the kernel or to TLS so far."""
        self.ready = False
        """Bytes may be there: an edge was seen (net.readiness) and no read has found the socket empty since."""
        self.over = False
        """The peer's FIN, or a failure, was seen."""
        self.waiter: Task | None = None
        """The task that waits for an edge."""
        self._readiness: readiness.Readiness | None = None
        self._poll: select.poll | None = None
        """Made for connections that are asked whether they live."""
        self._burst = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.sock.fileno()} ended={self.ended!r}>"

    async def receive(self, size: int = SMALL_READ) -> bytes:
        """Wait for data unless it is known to be there, then return up to ``size`` bytes; ``b""`` is the peer's FIN."""
        while True:
            if not self.ready:  # as ``_edge``, without a coroutine of its own: every exchange waits here twice
                if self._readiness is None:
                    self._watch()
                assert self.waiter is None, "one task reads"
                self.waiter = current_task()
                await wait_task_rescheduled(self._withdraw)
                if self.ended is not None:
                    raise Late(self.ended)
            elif self._burst >= BURST:
                self._burst = 0
                await checkpoint()
            else:
                self._burst += 1
            try:
                data = self.sock.recv(size)
            except BlockingIOError:
                self.ready = False
            except OSError as error:
                raise self._failure(error) from None
            else:
                if len(data) < size:  # the socket is empty
                    self.ready = self.over
                return data

    async def _edge(self) -> None:
        """Wait for an edge; for who has just found the socket empty."""
        if self._readiness is None:
            self._watch()
        assert self.waiter is None, "one task reads"
        self.waiter = current_task()
        await wait_task_rescheduled(self._withdraw)
        if self.ended is not None:
            raise Late(self.ended)

    def _watch(self) -> None:
        if self.ended is not None:
            raise Late(self.ended)
        self._readiness = readiness.current()
        self._readiness.watch(self.sock.fileno(), self)

    def unwatch(self) -> None:
        """Take no more edges: the socket is read past this stream from here on (a relay, TLS)."""
        if self._readiness is not None:
            self._readiness.forget(self.sock.fileno(), self)
            self._readiness = None
        self.ready = False

    def _withdraw(self, _: RaiseCancelT) -> Abort:
        self.waiter = None
        return Abort.SUCCEEDED

    async def receive_ready(self, size: int = LARGE_READ) -> bytes:
        """As receive, but try first; a long run without a wait still lets other tasks run."""
        self._burst += 1
        if self._burst < BURST:
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                self.ready = False
            except OSError as error:
                raise self._failure(error) from None
        return await self.receive(size)

    def receive_nowait(self, size: int = LARGE_READ) -> bytes | None:
        """Return what is there now, ``b""`` at the end, None when nothing is."""
        try:
            return self.sock.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._failure(error) from None

    def send_nowait(self, data: bytes) -> bytes:
        """Send what there is room for now and return the rest; for exchanges, which wait for other things anyway."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            return data
        except OSError as error:
            raise self._failure(error) from None
        self.sent += sent
        return b"" if sent == len(data) else data[sent:]

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        rest = self.send_nowait(data)
        if rest:
            await self._send_rest(memoryview(rest))
            return
        self._burst += 1
        if self._burst >= BURST:
            self._burst = 0
            await checkpoint()

    async def _send_rest(self, rest: memoryview) -> None:
        sock = self.sock
        deadline, late = self.deadline, self.late
        try:
            while rest:
                self._arm_stall(deadline)
                await wait_writable(sock)
                try:
                    sent = sock.send(rest)
                except BlockingIOError:
                    continue
                self.sent += sent
                rest = rest[sent:]
        except GONE as error:
            raise self._failure(error) from None
        finally:
            self.deadline, self.late = deadline, late

    def _arm_stall(self, deadline: float) -> None:
        """Let the reaper end a wait for room after ``stall`` seconds, at ``deadline`` at the latest."""
        stalled = trio.current_time() + self.stall
        if stalled < deadline:
            self.deadline = stalled
            self.late = "stall"

    def is_alive(self) -> bool:
        """Whether an idle stream can carry another request: open and silent. Reads nothing away."""
        if self.ended is not None:
            return False  # and the number may be another socket's by now
        return not self._is_readable()

    def _is_readable(self) -> bool:
        """Whether the socket holds bytes, a FIN or an error now."""
        poll = self._poll
        if poll is None:
            poll = self._poll = select.poll()
            poll.register(self.sock.fileno(), _LIFE_SIGNS)
        return bool(poll.poll(0))

    def shut_write(self) -> None:
        """Send FIN; the other direction goes on."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.expire("gone")

    def expire(self, reason: str) -> None:
        """Close now and tell waiters why."""
        if self.ended is None:
            self.ended = reason
            self.unwatch()
            if self.waiter is not None:
                reschedule(self.waiter)
                self.waiter = None
            notify_closing(self.sock)  # who waits for room, or in a relay
            self._dispose()

    def close(self) -> None:
        """Close; idempotent, never waits."""
        self.expire("closed")

    def _dispose(self) -> None:
        self.sock.close()

    def _failure(self, error: Exception) -> StreamError:
        if self.ended is not None:
            return Late(self.ended)
        return Broken(error.strerror or "closed" if isinstance(error, OSError) else "closed")
