"""The exchanges of late, kept in memory for whoever asks, and passed on to whoever listens.

Nearly always nobody asks, so keeping costs one call of the packer per batch of records, and a batch is unpacked and
shaped only when somebody looks. What is kept is bounded in records and in bytes. A subscriber has a
bounded buffer of its own: what does not fit is dropped, counted, and told to it.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import trio

from proxyd.core.events import ACCESS, ACCESS_FIELDS, NOTICE_FIELDS
from proxyd.core.events import NOTICE as NOTICE_ID
from proxyd.core.records import Batch, Values
from proxyd.core.units import KIB, MIB

RECORDS: Final = 4096
"""Exchanges kept by default."""
KEPT_BYTES: Final = 8 * MIB
"""Of packed records; an exchange takes some 300 bytes, more with a long path."""
SUBSCRIBERS: Final = 32
BUFFER: Final = 1024
"""Items that wait for one subscriber by default."""
MAX_BUFFER: Final = 8192
BUFFER_BYTES: Final = 4 * MIB
"""What waits for one subscriber, by estimate."""
TEXT_CHARACTERS: Final = 4096
"""The longest text of a field; what is over is cut."""

EXCHANGE: Final = "exchange"
NOTICE: Final = "notice"
KINDS: Final = (EXCHANGE, NOTICE)

_ITEM_BYTES: Final = 2 * KIB
"""What an item's map weighs beside its longest texts."""
_REDACTED: Final = "?<redacted>"


class TooManySubscribers(Exception):
    """All places are taken."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges are wanted; a condition that is None asks for nothing."""

    service: str | None = None
    """A service's name; ``-`` is no service."""
    host: str | None = None
    """With or without its port."""
    method: str | None = None
    path: str | None = None
    """The path's beginning."""
    status: str | None = None
    """A status (``404``) or a class (``4xx``)."""
    caller: str | None = None
    """An address, with or without its port, or a user that passed proxy authentication."""
    uid: int | None = None
    listener: str | None = None
    since: float | None = None
    """Unix time."""
    errors: bool = False
    """Only those with status 400 or above, or with a response flag."""

    def matches(self, exchange: dict[str, Any], began: float) -> bool:
        """Whether a shaped exchange that began at this time is wanted."""
        if self.since is not None and began < self.since:
            return False
        if self.errors and exchange["status"] < 400 and not exchange["flags"]:
            return False
        return (
            (self.service is None or (exchange["service"] or "-") == self.service)
            and (self.method is None or exchange["method"] == self.method)
            and (self.uid is None or exchange["uid"] == self.uid)
            and (self.listener is None or exchange["listener"] == self.listener)
            and (self.path is None or exchange["path"].startswith(self.path))
            and (self.status is None or _has_status(exchange["status"], self.status))
            and (self.host is None or _is_address(exchange["authority"], self.host.lower()))
            and (self.caller is None or exchange["user"] == self.caller or _is_address(exchange["caller"], self.caller))
        )


class Subscription:
    """What waits for one subscriber. ``close`` it, or it takes a place for ever."""

    def __init__(self, owner: "Recent", wanted: Filter, kinds: Sequence[str], buffer: int) -> None:
        self.wanted = wanted
        self.kinds = frozenset(kinds)
        self._owner = owner
        self._buffer = min(buffer, MAX_BUFFER)
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._wake = trio.Event()

    def __repr__(self) -> str:
        return f"<Subscription {'+'.join(sorted(self.kinds))} waiting={len(self._waiting)} dropped={self._dropped}>"

    def put(self, kind: str, item: dict[str, Any]) -> None:
        """Queue an item, or drop and count it; never waits."""
        size = _ITEM_BYTES + sum(len(value) for value in item.values() if isinstance(value, str))
        if len(self._waiting) >= self._buffer or self._bytes + size > BUFFER_BYTES:
            self._dropped += 1
        else:
            self._waiting.append((kind, item))
            self._bytes += size
        self._wake.set()

    async def take(self) -> tuple[list[tuple[str, dict[str, Any]]], int]:
        """Wait for items; return all that wait as (kind, item), and how many were dropped since the last call."""
        await self._wake.wait()
        items, dropped = list(self._waiting), self._dropped
        self._waiting.clear()
        self._bytes, self._dropped, self._wake = 0, 0, trio.Event()
        return items, dropped

    def close(self) -> None:
        """Give the place back; a ``take`` that waits returns."""
        self._owner.forget(self)
        self._wake.set()


class Recent:
    """The ring, and the subscribers."""

    def __init__(self, size: int = RECORDS, kept_bytes: int = KEPT_BYTES) -> None:
        self.size = size
        """Exchanges that are kept; 0: none."""
        self._kept_bytes = kept_bytes
        self._batches: deque[tuple[int, bytes]] = deque()
        self._count = 0
        self._bytes = 0
        self._subscriptions: list[Subscription] = []

    def __repr__(self) -> str:
        return f"<Recent {self.count} of {self.size} bytes={self._bytes} subscribers={len(self._subscriptions)}>"

    @property
    def count(self) -> int:
        """Exchanges that are kept now."""
        return min(self._count, self.size)

    @property
    def bytes(self) -> int:
        """What they weigh."""
        return self._bytes

    @property
    def subscribers(self) -> int:
        """How many listen."""
        return len(self._subscriptions)

    def resize(self, size: int) -> None:
        """Keep this many from now on."""
        self.size = size
        self._trim()

    def take(self, batch: Batch) -> None:
        """Take the valid records of one batch (a tap of control's reports)."""
        records = batch.of(ACCESS)
        if records:
            self._keep(records)
        if self._subscriptions:
            self._publish(EXCHANGE, ((exchange_of(record), record[1]) for record in records))
            process = f"worker-{batch.worker}"
            self._publish(NOTICE, ((notice_of(process, record), record[1]) for record in batch.of(NOTICE_ID)))

    def find(self, wanted: Filter, limit: int) -> list[dict[str, Any]]:
        """Return the latest ``limit`` exchanges that are wanted, the oldest first."""
        found: list[dict[str, Any]] = []
        left = self.size
        for _, packed in reversed(self._batches):
            for record in reversed(msgpack.unpackb(packed, strict_map_key=False)):
                if len(found) >= limit or left <= 0:
                    return found[::-1]
                left -= 1
                exchange = exchange_of(record)
                if wanted.matches(exchange, record[1]):
                    found.append(exchange)
        return found[::-1]

    def subscribe(
        self, wanted: Filter | None = None, kinds: Sequence[str] = (EXCHANGE,), buffer: int = BUFFER
    ) -> Subscription:
        """Listen from now on. TooManySubscribers."""
        if len(self._subscriptions) >= SUBSCRIBERS:
            raise TooManySubscribers
        subscription = Subscription(self, wanted or Filter(), kinds, buffer)
        self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Drop a subscription; nothing happens when it is gone already."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def _keep(self, records: Sequence[Values]) -> None:
        if self.size:
            packed: bytes = msgpack.packb(records, use_bin_type=True)
            self._batches.append((len(records), packed))
            self._count += len(records)
            self._bytes += len(packed)
            self._trim()

    def _publish(self, kind: str, items: Iterable[tuple[dict[str, Any], float]]) -> None:
        listening = [each for each in self._subscriptions if kind in each.kinds]
        for item, began in items if listening else ():
            for subscription in listening:
                if kind != EXCHANGE or subscription.wanted.matches(item, began):
                    subscription.put(kind, item)

    def _trim(self) -> None:
        """Let go of whole batches from the oldest on, as long as ``size`` records are left or bytes are too many."""
        while self._batches:
            count, packed = self._batches[0]
            if self._count - count < self.size and self._bytes <= self._kept_bytes:
                return
            self._batches.popleft()
            self._count -= count
            self._bytes -= len(packed)


def exchange_of(record: Values) -> dict[str, Any]:
    """Return an ACCESS record as the map of a line of the access log.

    As there, a query is never shown, and bytes that are no UTF-8 are written as escapes.
    """
    exchange = dict(zip(ACCESS_FIELDS, map(_plain, record[1:]), strict=True))
    path, query, _ = exchange["path"].partition("?")
    exchange["path"] = path + _REDACTED if query else path
    exchange["time"] = _iso(record[1])
    return exchange


def notice_of(process: str, record: Values) -> dict[str, Any]:
    """Return a NOTICE record as a map that names the process."""
    notice = dict(zip(NOTICE_FIELDS, map(_plain, record[1:]), strict=True))
    return {**notice, "time": _iso(record[1]), "process": process}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value[: TEXT_CHARACTERS + 1].decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value if len(value) <= TEXT_CHARACTERS else value[:TEXT_CHARACTERS] + "…"
    if isinstance(value, float):
        return round(value, 3)
    return value if value is None or isinstance(value, int) else None


def _iso(moment: float) -> str | None:
    try:
        milliseconds = int(moment * 1000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    except (ValueError, OverflowError, OSError):
        return None
    return f"{stamp}.{milliseconds % 1000:03d}Z"


def _has_status(status: int, wanted: str) -> bool:
    return str(status)[:1] == wanted[:1] if wanted[1:] == "xx" else str(status) == wanted


def _is_address(address: str, wanted: str) -> bool:
    """Whether ``host:port`` is ``wanted``, which may lack the port, or the brackets of IPv6."""
    if address == wanted:
        return True
    host, colon, _ = address.rpartition(":")
    return bool(colon) and wanted in (host, host.strip("[]"))
