"""Two streams joined: what one receives the other sends, each direction until its own end (half-close).

Between plain sockets bytes go through a pipe with splice(2) and never enter Python; pipes come from a small pool,
since the kernel grants a user only so many pages (pipe-user-pages-soft). Without one, or with TLS, they are copied.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final

import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from proxyd.core.units import KIB
from proxyd.net import readiness
from proxyd.net.stream import GONE, LARGE_READ, Broken, Late, Stream, StreamError

PIPE_BYTES: Final = 256 * KIB
PIPES: Final = 128
"""Pipes of one worker: half of what the kernel's soft limit of 16,384 pages allows one user."""

FAIR_BYTES: Final = 256 * KIB
"""Bytes moved without a wait before other tasks run."""

_BULK: Final = 32 * KIB
"""A read of this many bytes makes a direction bulk: worth a pipe."""

_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Tally:
    """Bytes that went each way."""

    __slots__ = ("down", "up")

    def __init__(self) -> None:
        self.up = 0
        """From the client."""
        self.down = 0
        """To the client."""


class Pipes:
    """A bounded pool of pipes."""

    def __init__(self, limit: int = PIPES) -> None:
        self._free: list[tuple[int, int]] = []
        self._left = limit

    def borrow(self) -> tuple[int, int] | None:
        """Return an empty pipe (reader, writer), or None when all are lent."""
        if self._free:
            return self._free.pop()
        if not self._left:
            return None
        try:
            pair = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self._left -= 1
        try:
            fcntl.fcntl(pair[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # over the user's soft limit: the default 64 KiB still serves
        return pair

    def give_back(self, pair: tuple[int, int], *, empty: bool) -> None:
        """Return a pipe; one that still holds bytes is closed and replaced when next asked for."""
        if empty:
            self._free.append(pair)
            return
        os.close(pair[0])
        os.close(pair[1])
        self._left += 1


async def relay(client: Stream, upstream: Stream, idle: float, pipes: Pipes, tally: Tally) -> str:
    """Carry bytes both ways until both ends are done; return why it ended.

    ``eof``, ``idle``, ``drain`` …, or the words of a transport error. Both streams are closed by the caller.
    """
    why = "eof"

    async def one_way(source: Stream, sink: Stream, count: Callable[[int], None]) -> None:
        nonlocal why
        try:
            await _carry(source, sink, idle, pipes, count, (client, upstream))
            sink.shut_write()
        except (Late, Broken) as error:
            if why == "eof":
                why = str(error)
            nursery.cancel_scope.cancel()

    def up(size: int) -> None:
        tally.up += size

    def down(size: int) -> None:
        tally.down += size

    client.unwatch()
    upstream.unwatch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_way, client, upstream, up)
        await one_way(upstream, client, down)
    return why


async def _carry(
    source: Stream,
    sink: Stream,
    idle: float,
    pipes: Pipes,
    count: Callable[[int], None],
    both: tuple[Stream, Stream],
) -> None:
    spliceable = type(source) is Stream and type(sink) is Stream
    while True:
        deadline = trio.current_time() + idle
        for stream in both:
            stream.deadline = deadline
            stream.late = "idle"
        data = await source.receive(LARGE_READ)
        if not data:
            return
        count(len(data))
        await sink.send(data)
        if spliceable and len(data) >= _BULK:
            pair = pipes.borrow()
            if pair is None:
                continue
            source.unwatch()  # or every segment that is spliced would wake the readiness task as well
            if await _splice(source, sink, idle, pair, pipes, count, both):
                return


async def _splice(
    source: Stream,
    sink: Stream,
    idle: float,
    pair: tuple[int, int],
    pipes: Pipes,
    count: Callable[[int], None],
    both: tuple[Stream, Stream],
) -> bool:
    """Splice while data is there; True at the end of ``source``, False when it paused for an idle wait."""
    reader, writer = pair
    exchanges = readiness.current()
    held = 0
    moved = 0
    try:
        while True:
            try:
                held = os.splice(source.sock.fileno(), writer, PIPE_BYTES, flags=_FLAGS)
            except BlockingIOError:
                if await _stays_idle(source):
                    return False
                continue
            if held == 0:
                return True
            count(held)
            deadline = trio.current_time() + idle
            for stream in both:
                stream.deadline = deadline
            moved += held
            while held:
                try:
                    held -= os.splice(reader, sink.sock.fileno(), held, flags=_FLAGS)
                except BlockingIOError:
                    moved = 0
                    await wait_writable(sink.sock)
            if moved >= FAIR_BYTES:
                moved = 0
                exchanges.wake()
                await checkpoint()
    except GONE as error:
        raise _failure(error, source, sink) from None
    finally:
        pipes.give_back(pair, empty=held == 0)


async def _stays_idle(source: Stream) -> bool:
    """Wait a moment for more; True when nothing came, so that the pipe is better lent to another tunnel."""
    with trio.move_on_after(1.0) as scope:
        await wait_readable(source.sock)
    return scope.cancelled_caught


def _failure(error: Exception, source: Stream, sink: Stream) -> StreamError:
    for stream in (source, sink):
        if stream.ended is not None:
            return Late(stream.ended)
    if isinstance(error, OSError) and error.errno != errno.EBADF:
        return Broken(error.strerror or "closed")
    return Broken("closed")
