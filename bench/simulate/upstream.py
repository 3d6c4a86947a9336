"""A simulated upstream server: latency, a bound of concurrency with a queue, and a schedule of faults."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from bench.simulate.network import Wire

CONNECT_SECONDS = 0.001
"""Of a handshake that nothing hinders."""

REASONS = {
    200: b"OK",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a server does with what it gets. Shares are between 0 and 1, and are drawn in this order."""

    median: float = 0.01
    """Seconds of work; drawn from a log-normal distribution ..."""
    sigma: float = 0.4
    """... of this shape."""
    is_down: bool = False
    """Connections are refused, and those that are there were reset when it went down."""
    is_silent: bool = False
    """A black hole: packets vanish both ways."""
    stale: float = 0.0
    """Requests on a kept connection that cross its orderly end on the way: they are not processed."""
    lost: float = 0.0
    """Requests whose connection is reset, before or after their side effect."""
    errors: float = 0.0
    """Requests answered with one of ``statuses``, without a side effect."""
    statuses: tuple[int, ...] = (500, 502, 503)
    retry_after: str = ""
    """Goes with an error."""
    handshake: float = 0.0
    """Seconds of work that a new connection costs (TLS), in one of the slots."""
    trickle: float = 0.0
    """Seconds that the body of a good response takes, byte by byte."""
    cuts: float = 0.0
    """Responses that break off within their body."""


@dataclass(frozen=True, slots=True)
class Phase:
    """From ``begin`` (seconds from the simulation's start) a server behaves so."""

    begin: float
    behaviour: Behaviour


@dataclass(slots=True)
class Ledger:
    """What the upstreams saw and did, by request number."""

    seen: dict[int, int] = field(default_factory=dict)
    """Times that a request reached some server."""
    effects: dict[int, int] = field(default_factory=dict)
    """Times that its side effect happened."""
    _keys: set[bytes] = field(default_factory=set)

    def note(self, number: int) -> None:
        """The request is there."""
        self.seen[number] = self.seen.get(number, 0) + 1

    def act(self, number: int, key: bytes) -> None:
        """Do the side effect, unless the idempotency key says that it was done before."""
        if key and key in self._keys:
            return
        self._keys.add(key)
        self.effects[number] = self.effects.get(number, 0) + 1


class Server:
    """One endpoint."""

    def __init__(self, phases: Sequence[Phase], ledger: Ledger, rng: random.Random, *, slots: int, queue: int) -> None:
        self._phases = phases
        self._ledger = ledger
        self._rng = rng
        self._slots = trio.Semaphore(slots)
        self._waiting = 0
        self._queue = queue
        self._nursery: trio.Nursery | None = None
        self._start = 0.0
        self._scopes: dict[Wire, trio.CancelScope] = {}
        self.behaviour = phases[0].behaviour

    @property
    def live(self) -> int:
        """Connections that the client holds open."""
        return sum(1 for wire in self._scopes if not wire.closed.is_set())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the schedule until cancelled."""
        self._start = trio.current_time()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            for phase in self._phases:
                await trio.sleep_until(self._start + phase.begin)
                self.behaviour = phase.behaviour
                if phase.behaviour.is_down:
                    self._die()
            await trio.sleep_forever()

    def _die(self) -> None:
        for wire, scope in list(self._scopes.items()):
            wire.reset()
            scope.cancel()

    async def connect(self) -> Wire:
        """Accept a connection."""
        await trio.sleep(CONNECT_SECONDS)
        if self.behaviour.is_silent:
            await trio.sleep_forever()
        if self.behaviour.is_down:
            raise ConnectionRefusedError("Connection refused")
        if self.behaviour.handshake:
            async with self._slots:
                await trio.sleep(self.behaviour.handshake)
            if self.behaviour.is_down:
                raise ConnectionResetError("Connection reset by peer")
        wire = Wire()
        assert self._nursery is not None, "the server runs"
        scope = self._scopes[wire] = trio.CancelScope()
        self._nursery.start_soon(self._serve, wire, scope)
        return wire

    async def _serve(self, wire: Wire, scope: trio.CancelScope) -> None:
        served = 0
        try:
            with scope:
                while (raw := await wire.request()) is not None and not wire.is_over:
                    await self._answer(wire, raw, is_kept=served > 0)
                    served += 1
                await wire.closed.wait()
            await wire.closed.wait()  # a dead server's connection stands until the client lets go of it
        finally:
            del self._scopes[wire]

    async def _answer(self, wire: Wire, raw: bytes, *, is_kept: bool) -> None:
        behaviour, rng = self.behaviour, self._rng
        if behaviour.is_silent:
            await wire.closed.wait()
            return
        if is_kept and rng.random() < behaviour.stale:
            wire.finish()
            return
        number, key = parse(raw)
        self._ledger.note(number)
        if self._waiting >= self._queue:
            self._send(wire, response(503, b"busy"))
            return
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            await self._work(wire, number, key, behaviour)
        finally:
            self._slots.release()

    async def _work(self, wire: Wire, number: int, key: bytes, behaviour: Behaviour) -> None:
        rng = self._rng
        seconds = behaviour.median * math.exp(rng.gauss(0.0, behaviour.sigma))
        part = rng.random()
        await trio.sleep(seconds * part)
        if rng.random() < behaviour.lost:
            if rng.random() < 0.5:
                self._ledger.act(number, key)
            wire.reset()
            return
        if rng.random() < behaviour.errors:
            await trio.sleep(seconds * (1 - part))
            extra = f"retry-after: {behaviour.retry_after}\r\n" if behaviour.retry_after else ""
            self._send(wire, response(rng.choice(behaviour.statuses), b"sorry", extra.encode()))
            return
        self._ledger.act(number, key)
        await trio.sleep(seconds * (1 - part))
        whole = response(200, b"%d" % number)
        if rng.random() < behaviour.cuts:
            self._send(wire, whole[: len(whole) - 1 - rng.randrange(len(whole) // 2)])
            await trio.sleep(0.001)
            wire.reset()
            return
        if behaviour.trickle:
            await self._trickle(wire, whole, behaviour.trickle)
            return
        cut = rng.randrange(len(whole)) if rng.random() < 0.2 else 0
        if cut:
            self._send(wire, whole[:cut])
            await trio.sleep(0.001)
        self._send(wire, whole[cut:])

    async def _trickle(self, wire: Wire, whole: bytes, seconds: float) -> None:
        head, _, body = whole.partition(b"\r\n\r\n")
        self._send(wire, head + b"\r\n\r\n")
        for number in range(len(body)):
            await trio.sleep(seconds / len(body))
            self._send(wire, body[number : number + 1])

    def _send(self, wire: Wire, data: bytes) -> None:
        if not self.behaviour.is_silent:
            wire.send(data)


def parse(raw: bytes) -> tuple[int, bytes]:
    """Return the request's number, which is its path, and its idempotency key."""
    head = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    key = b""
    for line in head[1:]:
        if line.lower().startswith(b"idempotency-key:"):
            key = line[16:].strip()
    return int(head[0].split(b" ")[1].lstrip(b"/")), key


def response(status: int, body: bytes, extra: bytes = b"") -> bytes:
    """Return a response in bytes."""
    reason = REASONS.get(status, b"Other")
    return b"HTTP/1.1 %d %b\r\ncontent-length: %d\r\n%b\r\n%b" % (status, reason, len(body), extra, body)
