"""An endpoint of the service that fails: ``python -m bench.faults.origin``, a process of its own so it can be killed.

It answers every request after ``--delay``, a share of them with 503, closes connections at one byte offset after the
other where it ``--cuts``, and writes the id of every POST that arrived whole into its ledger. ``/count`` says what it
saw, ``/health`` says 200; neither counts.
"""

import argparse
import json
import random
import socket
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import trio

HEALTH = b"/health"
COUNT = b"/count"
BODY = b"ok, and some more of it"
CUT_EVERY = 3
"""One exchange of so many is cut: no five in a row, which would take the endpoint out."""


class CutError(Exception):
    """The connection is to be closed now."""


class Cutter:
    """Which exchange is cut where: every offset of a method's request, then every offset of its response, once."""

    def __init__(self) -> None:
        self._exchanges = 0
        self._next: Counter[str] = Counter()
        self.lengths: dict[str, tuple[int, int]] = {}
        """Bytes of a request and of a response, by method; known once an exchange went through whole."""
        self.bodies: Counter[str] = Counter()
        """Responses that were cut after their head, by method."""

    def plan(self, method: str) -> int | None:
        """Return the offset at which the exchange that begins is cut: in the request, beyond its end in the answer."""
        self._exchanges += 1
        if self._exchanges % CUT_EVERY or method not in self.lengths:
            return None
        offset = self._next[method]
        if offset >= sum(self.lengths[method]):
            return None
        self._next[method] += 1
        return offset

    def covered(self) -> dict[str, list[int]]:
        """Offsets that were cut and offsets that there are, by method."""
        return {method: [self._next[method], sum(lengths)] for method, lengths in self.lengths.items()}


class Origin:
    """One endpoint's answers and counts."""

    def __init__(self, name: str, delay: float, errors: float, cutter: Cutter | None, ledger: Path | None) -> None:
        self._name = name
        self._delay = delay
        self._errors = errors
        self._cutter = cutter
        self._ledger = ledger.open("ab", buffering=0) if ledger else None
        self._counts: Counter[str] = Counter()
        self._random = random.Random(name)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        try:
            with stream.socket:
                while await self._exchange(stream.socket):
                    pass
        except (CutError, OSError):
            pass  # the fault that was asked for, or a proxy that closed

    async def _exchange(self, sock: trio.socket.SocketType) -> bool:
        first = await sock.recv(1, socket.MSG_PEEK)
        if not first:
            return False
        method = "POST" if first == b"P" else "GET"
        cutter = self._cutter
        offset = None
        if cutter and not (await sock.recv(64, socket.MSG_PEEK)).startswith((b"GET /health", b"GET /count")):
            offset = cutter.plan(method)
        length = cutter.lengths[method][0] if cutter and offset is not None else 0
        request = await _receive(sock, None if offset is None or offset >= length else offset)
        path = request.split(b" ", 2)[1]
        answer = await self._answer(path)
        if cutter and path not in (HEALTH, COUNT):
            if method == "POST" and self._ledger:
                self._ledger.write(path.rpartition(b"/")[2] + b"\n")
            if offset is not None:
                part = answer[: offset - length]
                cutter.bodies[method] += b"\r\n\r\n" in part
                if part:
                    await sock.send(part)
                raise CutError
            cutter.lengths.setdefault(method, (len(request), len(answer)))
        await sock.send(answer)
        return True

    async def _answer(self, path: bytes) -> bytes:
        if path == HEALTH:
            return self._encoded(200, b"well")
        if path == COUNT:
            return self._encoded(200, json.dumps(self.counts()).encode())
        self._counts["requests"] += 1
        if self._delay:
            await trio.sleep(self._delay)
        if self._errors and self._random.random() < self._errors:
            self._counts["errors"] += 1
            return self._encoded(503, b"no")
        return self._encoded(200, BODY)

    def counts(self) -> dict[str, object]:
        """What was seen so far."""
        cuts = {"covered": self._cutter.covered(), "bodies": self._cutter.bodies} if self._cutter else {}
        return {**self._counts, **cuts}

    def _encoded(self, status: int, body: bytes) -> bytes:
        head = f"HTTP/1.1 {status} Here\r\nX-Origin: {self._name}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def _receive(sock: trio.socket.SocketType, stop: int | None) -> bytes:
    """Read one request, or no more than ``stop`` bytes of it and raise CutError."""
    data = b""
    while True:
        if stop is not None and len(data) >= stop:
            raise CutError
        head, end, body = data.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            return data
        chunk = await sock.recv(65536 if stop is None else stop - len(data))
        if not chunk:
            raise CutError
        data += chunk


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    """Serve until killed."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--name", required=True)
    words.add_argument("--address", default="127.0.0.1")
    words.add_argument("--port", type=int, required=True)
    words.add_argument("--delay", type=float, default=0.0, help="seconds")
    words.add_argument("--errors", type=float, default=0.0, help="share, 0 to 1")
    words.add_argument("--cuts", action="store_true")
    words.add_argument("--ledger", type=Path)
    options = words.parse_args()
    cutter = Cutter() if options.cuts or options.ledger else None
    if cutter and not options.cuts:
        cutter.plan = lambda method: None  # type: ignore[method-assign]
    origin = Origin(options.name, options.delay, options.errors, cutter, options.ledger)
    trio.run(partial(trio.serve_tcp, origin.serve, options.port, host=options.address, backlog=1024))


if __name__ == "__main__":
    sys.exit(main())
