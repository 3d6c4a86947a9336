"""The exchanges of late, kept in memory for whoever asks, and passed on to whoever listens.

Nearly always nobody asks, so keeping costs one call of the packer per batch of records, and a batch is unpacked and
shaped only when somebody looks. What is kept is bounded in records and in bytes. A subscriber has a
bounded buffer of its own: what does not fit is dropped, counted, and told to it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgpack
import trio

from proxyd.core.events import ACCESS
from proxyd.core.events import NOTICE as NOTICE_ID
from proxyd.core.records import Batch, Values
from proxyd.core.units import KIB, MIB
from proxyd.telemetry.exchanges import Filter, exchange_of, notice_of

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

EXCHANGE: Final = "exchange"
NOTICE: Final = "notice"
KINDS: Final = (EXCHANGE, NOTICE)

_ITEM_BYTES: Final = 2 * KIB
"""What an item's map weighs beside its longest texts."""


class TooManySubscribers(Exception):
    """All places are taken."""


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
        size = _ITEM_BYTES + len(item.get("path") or "") + len(item.get("detail") or "")
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
            self._publish(EXCHANGE, records, exchange_of)
            self._publish(NOTICE, batch.of(NOTICE_ID), partial(notice_of, f"worker-{batch.worker}"))

    async def find(self, wanted: Filter, limit: int) -> list[dict[str, Any]]:
        """Return the latest ``limit`` exchanges that are wanted, the oldest first. Others get their turn meanwhile."""
        found: list[dict[str, Any]] = []
        left = self.size
        for _, packed in reversed(list(self._batches)):
            await trio.lowlevel.checkpoint()
            for record in reversed(msgpack.unpackb(packed, strict_map_key=False)):
                if len(found) >= limit or left <= 0:
                    return found[::-1]
                left -= 1
                if wanted.matches(record):
                    found.append(exchange_of(record))
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

    def _publish(self, kind: str, records: Sequence[Values], shape: Callable[[Values], dict[str, Any]]) -> None:
        listening = [each for each in self._subscriptions if kind in each.kinds]
        for record in records if listening else ():
            wanting = [each for each in listening if kind != EXCHANGE or each.wanted.matches(record)]
            if wanting:
                item = shape(record)
                for subscription in wanting:
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
