"""An origin and a client for a steady rate of requests, each a process of its own.

The client does not forgive: a connection that ends after a request went out and before its response is whole is an
error, whoever is to blame. A connection that ends between requests is not, and is counted.

``python -m tests.soak.steady origin`` prints its port; ``... client PORT AUTHORITY RATE CONNECTIONS`` sends until
standard input ends, then prints what became of it as JSON.
"""

import asyncio  # noqa: TID251 - no part of the daemon
import contextlib
import json
import sys
import time
from collections import Counter, deque

HOST = "127.0.0.1"
BODY = b"x" * 1024
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
FORBIDDEN = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
KEY = "the-origin-demands-this"
TICK = 0.005
REQUESTS_PER_CONNECTION = 100
"""Then the client closes it and opens another: there are always new connections."""


class OriginProtocol(asyncio.Protocol):
    """Answers every head, 401 without the key."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
            self.transport.write(RESPONSE if KEY.encode() in head else FORBIDDEN)


class ClientProtocol(asyncio.Protocol):
    """One connection: idle, or waiting for one response."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        self.sent_at = 0.0
        self.received = b""
        self.left = REQUESTS_PER_CONNECTION

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.client.idle.append(self)

    def ask(self, request: bytes) -> None:
        self.sent_at = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.client.answered(int(head[9:12]), time.monotonic() - self.sent_at)
        self.sent_at, self.received = 0.0, b""
        self.left -= 1
        if b"connection: close" in head:
            self.client.outcome["said close"] += 1
            self.transport.close()
        elif not self.left:
            self.transport.close()
        else:
            self.client.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.sent_at:
            self.client.errors[f"broken: {exc!r} after {len(self.received)} bytes"] += 1
        elif self in self.client.idle:
            self.client.idle.remove(self)
            self.client.outcome["closed while idle"] += 1
        if not self.client.over:
            self.client.connect()


class Client:
    """Sends requests at a steady rate over idle connections."""

    def __init__(self, port: int, authority: str, rate: int, connections: int) -> None:
        self.port = port
        self.request = f"GET http://{authority}/item HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        self.rate = rate
        self.connections = connections
        self.idle: deque[ClientProtocol] = deque()
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.outcome: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.over = False
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: ClientProtocol(self), HOST, self.port)
        except OSError as error:
            self.errors[f"connect: {error!r}"] += 1
            await asyncio.sleep(0.1)
            self.connect()

    def answered(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.latencies.append(seconds)

    async def run(self) -> None:
        for _ in range(self.connections):
            self.connect()
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        started, sent = time.monotonic(), 0
        while not ended.done():
            await asyncio.sleep(TICK)
            due = int((time.monotonic() - started) * self.rate) - sent
            for _ in range(min(due, len(self.idle))):
                self.idle.popleft().ask(self.request)
                sent += 1
        seconds = time.monotonic() - started
        self.over = True
        await asyncio.sleep(2.0)
        self.errors["unanswered"] += sent - self.statuses.total() - sum(self.errors.values())
        self.report(seconds)

    def report(self, seconds: float) -> None:
        self.latencies.sort()
        count = len(self.latencies)
        print(
            json.dumps(
                {
                    "seconds": round(seconds, 1),
                    "requests": count,
                    "requests_per_second": round(count / seconds),
                    "statuses": self.statuses,
                    "errors": +self.errors,
                    "connections": self.outcome,
                    "p50_ms": round(self.latencies[count // 2] * 1000, 1) if count else None,
                    "p99_ms": round(self.latencies[count * 99 // 100] * 1000, 1) if count else None,
                    "max_ms": round(self.latencies[-1] * 1000, 1) if count else None,
                }
            )
        )


async def serve_origin() -> None:
    """Serve until standard input ends."""
    server = await asyncio.get_running_loop().create_server(OriginProtocol, HOST, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main(words: list[str]) -> None:
    """Be the origin or the client."""
    with contextlib.suppress(KeyboardInterrupt):
        if words[0] == "origin":
            asyncio.run(serve_origin())
        else:
            port, authority, rate, connections = words[1:]
            asyncio.run(Client(int(port), authority, int(rate), int(connections)).run())


if __name__ == "__main__":
    main(sys.argv[1:])
