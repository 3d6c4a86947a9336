"""A vendor with a limit: it counts, tells in its headers what is left, and answers 429 to whoever asks for more."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.lab.daemon import pause

Fields = dict[str, str]
Tell = Callable[[int, int, float], Fields]
"""Limit, remaining and seconds to the reset, as header fields."""


def epoch_fields(limit: int, remaining: int, reset: float) -> Fields:
    """GitHub's way."""
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(time.time() + reset)),
    }


def delta_fields(limit: int, remaining: int, reset: float) -> Fields:
    """The way of the draft before -08."""
    return {"RateLimit-Limit": str(limit), "RateLimit-Remaining": str(remaining), "RateLimit-Reset": str(int(reset))}


def structured_fields(limit: int, remaining: int, reset: float) -> Fields:
    """The draft's way."""
    return {"RateLimit": f'"default";r={remaining};t={int(reset)}', "RateLimit-Policy": f'"default";q={limit};w=60'}


def no_fields(limit: int, remaining: int, reset: float) -> Fields:
    """Nothing is told."""
    return {}


class Vendor:
    """Fixed windows of ``seconds`` with ``limit`` requests each, on loopback. Use as a context manager."""

    def __init__(self, limit: int, seconds: float, tell: Tell, *, delay: float = 0.0) -> None:
        self.limit = limit
        self.seconds = seconds
        self.tell = tell
        self.delay = delay
        self.answered = 0
        self.refused = 0
        self.windows: list[int] = []
        """What was asked for in each window."""
        self.paths: list[str] = []
        self.refuse_next = ""
        """Retry-After of one refusal out of turn."""
        self.refusal: tuple[int, Fields, bytes] = (429, {}, b"too many requests")
        self._ends = 0.0
        self._lock = threading.Lock()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status, fields, body = vendor.ask(self.path)
                if vendor.delay:
                    pause(vendor.delay)
                self.send_response(status)
                for name, value in {**fields, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def ask(self, path: str) -> tuple[int, Fields, bytes]:
        """Count a request; return status, fields and body."""
        with self._lock:
            now = time.monotonic()
            self.paths.append(path)
            if now >= self._ends:
                self._ends = now + self.seconds
                self.windows.append(0)
            self.windows[-1] += 1
            remaining = max(0, self.limit - self.windows[-1])
            fields = self.tell(self.limit, remaining, self._ends - now)
            if self.refuse_next:
                status, more, body = self.refusal
                more = {**fields, **more, "Retry-After": self.refuse_next}
                self.refuse_next = ""
                self.refused += 1
                return status, more, body
            if self.windows[-1] > self.limit:
                self.refused += 1
                return 429, fields, b"too many requests"
            self.answered += 1
            return 200, fields, b"ok"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
