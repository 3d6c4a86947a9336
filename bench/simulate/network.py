"""The network in memory: streams without sockets, and a connector that dials simulated servers.

Everything above is proxyd's own: pool, connection, codec and reaper see a ``Stream`` like any other.
"""

from __future__ import annotations

from typing import Protocol

import trio
from trio.lowlevel import current_task, reschedule, wait_task_rescheduled

from proxyd.core.errors import Flag, ProxyError, Retry, Side
from proxyd.core.exchange import Exchange
from proxyd.core.snapshot import Egress
from proxyd.net.reaper import Reaper
from proxyd.net.resolve import Resolver
from proxyd.net.stream import LARGE_READ, SMALL_READ, Broken, Late, Stream
from proxyd.upstream.connector import Connector
from proxyd.upstream.pool import PoolKey


class Acceptor(Protocol):
    """What can be dialled."""

    async def connect(self) -> Wire:
        """Return the server's end of a new connection; OSError when it is refused."""
        ...


class Wire:
    """The server's end of a connection. Bytes arrive at once: latency is the server's business."""

    def __init__(self) -> None:
        self.stream = MemoryStream(self)
        self.closed = trio.Event()
        """The client closed."""
        self.is_reset = False
        self.is_over = False
        """The server closed."""
        self.inbox = b""
        self._arrived = trio.Event()

    async def request(self) -> bytes | None:
        """Return the next request, head and body; None when the client closed."""
        while (whole := self._whole()) is None:
            if self.closed.is_set():
                return None
            self._arrived = trio.Event()
            await self._arrived.wait()
        return whole

    def _whole(self) -> bytes | None:
        end = self.inbox.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = 0
        for line in self.inbox[:end].split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        size = end + 4 + length
        if len(self.inbox) < size:
            return None
        whole, self.inbox = self.inbox[:size], self.inbox[size:]
        return whole

    def deliver(self, data: bytes) -> None:
        """The client sent ``data``."""
        self.inbox += data
        self._arrived.set()

    def hang_up(self) -> None:
        """The client closed its end."""
        self.closed.set()
        self._arrived.set()

    def send(self, data: bytes) -> None:
        """Send to the client, unless one of both closed."""
        if not self.is_over and not self.closed.is_set():
            self.stream.arrive(data)

    def finish(self) -> None:
        """Close in good order: the client reads what was sent, then the end."""
        self.is_over = True
        self.stream.end(None)

    def reset(self) -> None:
        """Close as a dead process does: what the client has not read is lost, what it sends fails."""
        self.is_over = self.is_reset = True
        self.stream.end("Connection reset by peer")


class MemoryStream(Stream):
    """The client's end of a connection."""

    __slots__ = ("_broken", "_inbox", "_wire")

    def __init__(self, wire: Wire) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._wire = wire
        self._inbox = b""
        self._broken: str | None = None

    def __repr__(self) -> str:
        return f"<MemoryStream ended={self.ended!r} over={self.over}>"

    def arrive(self, data: bytes) -> None:
        """The server sent ``data``."""
        self._inbox += data
        self._wake()

    def end(self, broken: str | None) -> None:
        """The server closed, in good order or with an error."""
        self.over = True
        if broken is not None:
            self._broken = broken
            self._inbox = b""
        self._wake()

    async def receive(self, size: int = SMALL_READ) -> bytes:
        while not self._inbox and not self.over and self.ended is None:
            assert self.waiter is None, "one task reads"
            self.waiter = current_task()
            await wait_task_rescheduled(self._withdraw)
        data = self.receive_nowait(size)
        assert data is not None
        return data

    async def receive_ready(self, size: int = LARGE_READ) -> bytes:
        return await self.receive(size)

    def receive_nowait(self, size: int = LARGE_READ) -> bytes | None:
        if self.ended is not None:
            raise Late(self.ended)
        if self._broken is not None:
            raise Broken(self._broken)
        if not self._inbox:
            return b"" if self.over else None
        data, self._inbox = self._inbox[:size], self._inbox[size:]
        return data

    def send_nowait(self, data: bytes) -> bytes:
        if self.ended is not None:
            raise Late(self.ended)
        if self._broken is not None:
            raise Broken(self._broken)
        self.sent += len(data)
        self._wire.deliver(data)
        return b""

    async def send(self, data: bytes) -> None:
        self.send_nowait(data)

    def is_alive(self) -> bool:
        return self.ended is None and not self.over and not self._inbox

    def expire(self, reason: str) -> None:
        if self.ended is None:
            self.ended = reason
            self._wake()
            self._wire.hang_up()

    def _wake(self) -> None:
        if self.waiter is not None:
            reschedule(self.waiter)
            self.waiter = None


class MemoryConnector(Connector):
    """Dials the servers of a simulation by ``host:port``; the timeout of a dial is the real connector's."""

    def __init__(self, servers: dict[tuple[str, int], Acceptor], reaper: Reaper) -> None:
        super().__init__(Egress(), b"", Resolver(), reaper)
        self._servers = servers
        self._watch = reaper.add

    async def _connect(
        self, key: PoolKey, exchange: Exchange | None, seconds: float, tls_seconds: float
    ) -> tuple[Stream, str]:
        try:
            wire = await self._servers[key.address, key.port].connect()
        except OSError as error:
            raise ProxyError(
                502,
                Flag.UPSTREAM_CONNECT,
                "connection_refused",
                f"{key.address}:{key.port}: {error}",
                side=Side.UPSTREAM,
                retry=Retry.ALWAYS,
            ) from error
        self._watch(wire.stream)
        return wire.stream, f"{key.address}:{key.port}"
