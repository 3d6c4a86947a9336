"""A vendor with sliding windows, as a process of its own: it counts every request when it arrives, and answers 429.

``python -m bench.fleet.double '{"windows": [[10, 1.0], [100, 20.0]], "port": 0}'`` prints its port as a JSON line;
``GET /ledger`` is answered with what it counted, and costs nothing.
"""

import json
import sys
import time
from collections import deque

import trio

MOST_HEAD = 64 * 1024


class Window:
    """At most ``limit`` within any ``seconds``."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self.most = 0
        """Requests that were within one window at once, refused ones among them."""
        self._times: deque[float] = deque()

    def count(self, now: float) -> bool:
        """Count a request; whether it is within the limit."""
        times = self._times
        while times and times[0] <= now - self.seconds:
            times.popleft()
        times.append(now)
        self.most = max(self.most, len(times))
        return len(times) <= self.limit


class Double:
    """Counts, answers, tells."""

    def __init__(self, windows: list[list[float]], delay: float = 0.0) -> None:
        self.windows = [Window(int(limit), seconds) for limit, seconds in windows]
        self.delay = delay
        self.times: list[float] = []
        self.refused: list[float] = []

    def ask(self) -> int:
        """Return the status of one request."""
        now = time.monotonic()
        self.times.append(now)
        is_within = [window.count(now) for window in self.windows]  # all of them count
        if all(is_within):
            return 200
        self.refused.append(now)
        return 429

    def ledger(self) -> dict[str, object]:
        """Return what was counted."""
        return {
            "requests": len(self.times),
            "refused": self.refused,
            "most": [window.most for window in self.windows],
            "times": [round(when, 4) for when in self.times],
        }

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection's requests (heads only, as GET has them)."""
        buffered = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffered:
                    data = await stream.receive_some(MOST_HEAD)
                    if not data or len(buffered) > MOST_HEAD:
                        return
                    buffered += data
                head, buffered = buffered.split(b"\r\n\r\n", 1)
                if head.startswith(b"GET /ledger "):
                    await stream.send_all(_response(200, json.dumps(self.ledger()).encode()))
                    continue
                status = self.ask()
                if self.delay:
                    await trio.sleep(self.delay)
                await stream.send_all(_response(status, b"ok"))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


def _response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Double\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def main(windows: list[list[float]], port: int = 0, delay: float = 0.0) -> None:
    """Serve for ever."""
    double = Double(windows, delay)
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=512)
    print(json.dumps({"port": listeners[0].socket.getsockname()[1]}), flush=True)
    await trio.serve_listeners(double.serve, listeners)


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    trio.run(main, settings["windows"], settings.get("port", 0), settings.get("delay", 0.0))
