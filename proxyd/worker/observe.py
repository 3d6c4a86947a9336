"""What happened, counted and reported: one event per exchange where the access log is on, and the metrics."""

import time
from collections import deque
from typing import Any

import msgpack
import trio

from proxyd.core import metrics
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.events import ACCESS, NOTICE
from proxyd.core.exchange import Exchange
from proxyd.core.fallback import STALE, STATIC
from proxyd.core.message import Origin
from proxyd.core.route import Filter, Route
from proxyd.worker.endings import Endings
from proxyd.worker.meter import Counter, Histogram, Meter
from proxyd.worker.own_credential import own_credential

MAX_EVENTS = 20_000
"""Events that wait for control; past that they are dropped and counted."""

EVENTS_PER_FRAME = 200
"""About 64 KiB of access records."""

_NO_STEPS = (None, None)

_VERSIONS = {10: "1.0", 11: "1.1", 20: "2"}

DROPPED_STATUS = 499
"""Logged where the client left before a response (nginx's number)."""


class Events:
    """A bounded queue of records for control, packed at once while they are warm: small, and quick to send."""

    def __init__(self, meter: Meter) -> None:
        self.waiting = 0
        self._packer = msgpack.Packer(autoreset=False, unicode_errors="replace")
        self._open = 0
        """Records in the packer."""
        self._frames: deque[tuple[int, bytes]] = deque()
        self._dropped = meter.counter(metrics.EVENTS_DROPPED, "worker_queue_full")

    def add(self, record: list[Any]) -> None:
        """Queue a record, or drop and count it."""
        if self.waiting >= MAX_EVENTS:
            self._dropped.value += 1
            return
        self._packer.pack(record)
        self.waiting += 1
        self._open += 1
        if self._open == EVENTS_PER_FRAME:
            self._seal()

    def take(self) -> tuple[int, bytes] | None:
        """Remove and return up to EVENTS_PER_FRAME records, oldest first: how many, and their msgpack bytes."""
        if not self._frames:
            if not self._open:
                return None
            self._seal()
        frame = self._frames.popleft()
        self.waiting -= frame[0]
        return frame

    def _seal(self) -> None:
        self._frames.append((self._open, self._packer.bytes()))
        self._packer.reset()
        self._open = 0

    def notice(self, level: str, name: str, detail: str) -> None:
        """Queue something that an operator should know."""
        self.add([NOTICE, time.time(), level, name, detail])


class _Cells:
    """The metric cells of one route and listener, found once."""

    __slots__ = ("by_status", "duration")

    def __init__(self, duration: Histogram) -> None:
        self.by_status: dict[int, Counter] = {}
        self.duration = duration


class Observer(Filter):
    """Counts and reports every exchange when it is done."""

    def __init__(self, meter: Meter, events: Events, endings: Endings) -> None:
        self._meter = meter
        self._events = events
        self._endings = endings
        self._received = meter.counter(metrics.DOWNSTREAM_BYTES, "received")
        self._sent = meter.counter(metrics.DOWNSTREAM_BYTES, "sent")
        self.set_clock()

    def set_clock(self) -> None:
        """Relate monotonic time to the wall clock again."""
        self._offset = time.time() - trio.current_time()

    def done(self, exchange: Exchange) -> None:
        """Count one exchange; report it when the access log is on."""
        response = exchange.response
        status = response.status if response is not None else DROPPED_STATUS
        seconds = exchange.ended - exchange.started
        cells: _Cells | None = exchange.route.cells.get(exchange.peer.listener)
        if cells is None:
            cells = self._cells(exchange.route, exchange.peer.listener)
        cell = cells.by_status.get(status)
        if cell is None:
            cell = cells.by_status[status] = self._meter.counter(
                metrics.REQUESTS, exchange.peer.listener, exchange.route.name, str(status)
            )
        cell.value += 1
        cells.duration.observe(seconds)
        self._received.value += exchange.request_bytes
        self._sent.value += exchange.response_bytes
        if exchange.attempts > 1:
            self._count_retries(exchange)
        if exchange.error is not None:
            self._meter.counter(metrics.ERRORS, exchange.route.name, exchange.error.flag.value).value += 1
        if response is not None and response.announces and self._endings.saw(exchange, response):
            self._meter.counter(metrics.ANNOUNCED, exchange.route.name).value += 1
        if exchange.snapshot.access_log:
            origin = response.origin._value_ if response is not None else "proxyd"
            self._events.add(self._record(exchange, "http", exchange.mode, status, origin, seconds))

    def tunnel(self, exchange: Exchange, mode: str, status: int) -> None:
        """Count and report a tunnel that ended or was refused after its 200."""
        exchange.ended = trio.current_time()
        self._meter.counter(metrics.TUNNELS, exchange.peer.listener, exchange.route.name).value += 1
        self._received.value += exchange.request_bytes
        self._sent.value += exchange.response_bytes
        if exchange.error is not None:
            self._meter.counter(metrics.ERRORS, exchange.route.name, exchange.error.flag.value).value += 1
        if exchange.snapshot.access_log:
            origin = "proxyd" if exchange.endpoint is None else "upstream"
            self._events.add(self._record(exchange, "tunnel", mode, status, origin, exchange.ended - exchange.started))

    def _count_retries(self, exchange: Exchange) -> None:
        """Count each service's own further attempts."""
        alternate = exchange.alternate
        if alternate is None:
            self._meter.counter(metrics.RETRIES, exchange.route.name).value += exchange.attempts - 1
            return
        for route, attempts in (
            (exchange.route, exchange.attempts - alternate.attempts),
            (alternate.route, alternate.attempts),
        ):
            if attempts > 1:
                self._meter.counter(metrics.RETRIES, route.name).value += attempts - 1

    def _cells(self, route: Route, listener: str) -> _Cells:
        """Make the cells of a route and listener; the route keeps them."""
        cells = route.cells[listener] = _Cells(self._meter.histogram(metrics.DURATION, route.name))
        return cells

    def _record(self, exchange: Exchange, kind: str, mode: str, status: int, origin: str, seconds: float) -> list[Any]:
        """Return the positional record (core.events.ACCESS_FIELDS)."""
        request = exchange.request
        peer = exchange.peer
        error = exchange.error
        credential = exchange.credential
        first = exchange.first_byte_seconds
        connect = exchange.connect_seconds
        queue = exchange.queue_seconds
        dns, tls = exchange.connect_steps or _NO_STEPS
        return [
            ACCESS,
            exchange.started + self._offset,
            exchange.id,
            kind,
            peer.listener,
            peer.text,
            peer.uid,
            peer.user,
            mode,
            request.method,
            request.scheme,
            request.authority.text,
            request.path,
            exchange.route.name or None,
            ",".join(credential.secret_names) if credential is not None else None,
            status,
            exchange.flags if error is None else _flags(exchange.flags, error),
            error.error if error is not None else None,
            error.detail if error is not None else None,
            origin,
            exchange.endpoint,
            exchange.attempts,
            exchange.reused,
            exchange.request_bytes,
            exchange.response_bytes,
            queue * 1000 if queue is not None else None,
            connect * 1000 if connect is not None else None,
            first * 1000 if first is not None else None,
            seconds * 1000,
            peer.gid,
            peer.pid,
            peer.executable,
            ", ".join(f"{one.endpoint} {one.outcome}" for one in exchange.tries) if exchange.tries else None,
            _fallback(exchange) if exchange.flags else None,
            _VERSIONS[request.version],
            own_credential(request) if not exchange.route.name else None,
            dns * 1000 if dns is not None else None,
            tls * 1000 if tls is not None else None,
        ]


def _fallback(exchange: Exchange) -> str | None:
    """Return what answered in the service's place."""
    if exchange.alternate is not None:
        return exchange.alternate.route.name
    if Flag.FALLBACK.value not in exchange.flags.split(","):
        return None
    return STALE if exchange.response is not None and exchange.response.origin is Origin.CACHE else STATIC


def _flags(flags: str, error: ProxyError) -> str:
    """Return an exchange's flags and its error's, none twice."""
    flag = error.flag.value
    return flag if not flags else flags if flag in flags.split(",") else f"{flags},{flag}"
