"""Clients that ask as fast as they are answered, each of one daemon, and go to another when theirs has died."""

import time
from collections import Counter
from dataclasses import dataclass, field

import trio

MOST_HEAD = 64 * 1024
PATIENCE = 60.0


@dataclass(slots=True)
class Tally:
    """What clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Connections that ended without an answer: the client asked again, elsewhere."""


class _GoneError(Exception):
    """The connection ended without an answer."""


class Clients:
    """A crowd that asks for one URL through forward proxies."""

    def __init__(self, ports: list[int], authority: str) -> None:
        self.ports = ports
        self._request = f"GET http://{authority}/item HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        self.tally = Tally()

    async def run(self, count: int, seconds: float) -> None:
        """Have ``count`` clients ask for so long; what is under way then is not counted."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(self._ask_all, number, time.monotonic() + seconds)

    async def _ask_all(self, number: int, end: float) -> None:
        at = number
        while time.monotonic() < end:
            try:
                await self._talk(self.ports[at % len(self.ports)])
            except (OSError, trio.BrokenResourceError, _GoneError):
                self.tally.broken += 1
                at += 1
                await trio.sleep(0.05)

    async def _talk(self, port: int) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            while True:
                await stream.send_all(self._request)
                self.tally.statuses[await _answer(stream)] += 1


async def _answer(stream: trio.SocketStream) -> int:
    """Read one response, return its status."""
    buffered = b""
    while b"\r\n\r\n" not in buffered:
        buffered += await _more(stream)
    head, _, body = buffered.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length:
        body += await _more(stream)
    return int(head[9:12])


async def _more(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some(MOST_HEAD)
    if not data:
        raise _GoneError
    return data
