"""Requests at a fixed rate, whatever becomes of them (an open loop): each is timed from the moment it was due."""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from bench.faults.tally import Kind, Outcome
from bench.origin import HOST
from bench.ports import LOOPBACK

RATE = 500.0
PATIENCE = 15.0  # seconds that a client waits for its answer
MAX_UNDER_WAY = 4096  # requests; what is due beyond them has failed
POST_BODY = b'{"amount": 1}'

Method = Callable[[int], str]


def only_gets(number: int) -> str:
    """The method of a request: GET."""
    return "GET"


def gets_and_posts(number: int) -> str:
    """In turn."""
    return "POST" if number % 2 else "GET"


@dataclass(slots=True)
class Load:
    """The load on the proxy at ``port`` of loopback for ``seconds``; ``run`` it, then read what it brought."""

    port: int
    seconds: float
    method: Method = only_gets
    rate: float = RATE
    outcomes: list[Outcome] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    began: float = 0.0
    _idle: list[trio.SocketStream] = field(default_factory=list)

    @property
    def now(self) -> float:
        """Seconds since the load began."""
        return trio.current_time() - self.began

    async def run(self, done: Callable[[], bool] = lambda: False) -> None:
        """Send until the time is over or ``done``; return when every request has ended."""
        self.began = trio.current_time()
        async with trio.open_nursery() as nursery:
            number = 0
            while (due := number / self.rate) < self.seconds and not done():
                if due > self.now:
                    await trio.sleep_until(self.began + due)
                if self.under_way >= MAX_UNDER_WAY:
                    self.outcomes.append(Outcome(number, self.method(number), due, 0.0, Kind.BROKEN))
                else:
                    self.under_way += 1
                    self.most_under_way = max(self.most_under_way, self.under_way)
                    nursery.start_soon(self._request, number, due)
                number += 1
        for stream in self._idle:
            stream.socket.close()

    async def _request(self, number: int, due: float) -> None:
        method = self.method(number)
        kind, status, origin = Kind.LATE, 0, ""
        with trio.move_on_after(PATIENCE):
            kind, status, origin = await self._exchange(_encoded(method, number))
        self.under_way -= 1
        self.outcomes.append(Outcome(number, method, due, self.now - due, kind, status, origin))

    async def _exchange(self, request: bytes) -> tuple[Kind, int, str]:
        head = b""
        status, origin = 0, ""
        stream: trio.SocketStream | None = None
        keeps = False
        try:
            stream = self._idle.pop() if self._idle else await trio.open_tcp_stream(LOOPBACK, self.port)
            await stream.send_all(request)
            data = b""
            while b"\r\n\r\n" not in data:
                data += await _some(stream)
            head, _, body = data.partition(b"\r\n\r\n")
            status, origin, length, keeps = parse_head(head)
            while len(body) < length:
                body += await _some(stream)
        except (OSError, trio.BrokenResourceError):
            keeps = False
            return (Kind.CUT if head else Kind.BROKEN), status, origin
        finally:
            if stream is not None and keeps:
                self._idle.append(stream)
            elif stream is not None:
                stream.socket.close()
        return (Kind.GOOD if status == 200 else Kind.REFUSED), status, origin


def parse_head(head: bytes) -> tuple[int, str, int, bool]:
    """Status, endpoint, body length and whether the connection stays, of a response head."""
    lines = head.split(b"\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    return (
        int(lines[0].split()[1]),
        fields.get(b"x-origin", b"").decode(),
        int(fields.get(b"content-length", b"0")),
        fields.get(b"connection", b"").lower() != b"close",
    )


async def _some(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some(65536))
    if not data:
        raise trio.BrokenResourceError("closed")
    return data


def _encoded(method: str, number: int) -> bytes:
    head = f"{method} http://{HOST}/v2/item/{number} HTTP/1.1\r\nHost: {HOST}\r\n"
    if method == "POST":
        return f"{head}Content-Length: {len(POST_BODY)}\r\n\r\n".encode() + POST_BODY
    return f"{head}\r\n".encode()
