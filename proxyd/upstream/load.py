"""How much of one service is under way, against its thresholds: connections, waiters, requests, retries.

Counted across workers where there are several (core.counts): each worker publishes its own numbers and adds the
others' up before it takes a place. A worker alone counts in plain integers. Synchronous; who takes gives back.
"""

from collections.abc import Callable
from typing import Final

from proxyd.core.counts import CONNECTIONS, KINDS, PENDING, REQUESTS, RETRIES, Row, place_of
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.resilience import Thresholds

NAMES: Final = ("max_connections", "max_pending", "max_requests", "max_retries")
"""Of the configuration's keys, and of the metric's label."""

Overflowed = Callable[[str, str], None]
"""Told the service and the threshold that refused something."""


def nobody(service: str, threshold: str) -> None:
    """Tell nobody."""


class Load:
    """One service in one worker; it outlives snapshots."""

    __slots__ = ("_bounds", "_overflowed", "_own", "_places", "_row", "name")

    def __init__(self, name: str, thresholds: Thresholds, overflowed: Overflowed = nobody) -> None:
        self.name = name
        self._overflowed = overflowed
        self._own = [0] * KINDS
        self._row: Row | None = None
        self._places: tuple[int, ...] = ()
        self.bound_by(thresholds)

    def __repr__(self) -> str:
        counts = " ".join(f"{name[4:]}={own}" for name, own in zip(NAMES, self._own, strict=True))
        return f"<Load {self.name} {counts}>"

    def bound_by(self, thresholds: Thresholds) -> None:
        """Go by these thresholds from now on; what runs already is never ended by them."""
        self._bounds = (thresholds.connections, thresholds.pending, thresholds.requests, thresholds.retries)

    def share(self, row: Row | None, service: int) -> None:
        """Count with other workers under the snapshot's ``service``-th place; alone without a row or a place."""
        places = [place_of(service, kind) for kind in range(KINDS)]
        self._places = tuple(place for place in places if place is not None)
        self._row = row if self._places else None
        if self._row is not None:
            for place, own in zip(self._places, self._own, strict=True):
                self._row.put(place, own)

    def total(self, kind: int) -> int:
        """Return how many there are in all workers."""
        own = self._own[kind]
        return own if self._row is None else own + self._row.others(self._places[kind])

    def is_full(self, kind: int) -> bool:
        """Whether the threshold is reached."""
        return self.total(kind) >= self._bounds[kind]

    def try_take(self, kind: int) -> bool:
        """Take a place; False, told to whoever counts, where there is none."""
        own = self._own[kind]
        row = self._row
        if row is None:
            if own >= self._bounds[kind]:
                self._overflowed(self.name, NAMES[kind])
                return False
        else:
            place = self._places[kind]
            if own + row.others(place) >= self._bounds[kind]:
                self._overflowed(self.name, NAMES[kind])
                return False
            row.put(place, own + 1)
        self._own[kind] = own + 1
        return True

    def give_back(self, kind: int, count: int = 1) -> None:
        """Give places back that were taken; a negative ``count`` takes them whatever the threshold says."""
        own = self._own[kind] = self._own[kind] - count
        if self._row is not None:
            self._row.put(self._places[kind], own)

    # --- requests and retries (core.exchange.Held) ------------------------------------------------

    def enter(self, exchange: Exchange) -> None:
        """Count a request until ``leave``. ProxyError 503 when too many are under way."""
        if exchange.held is not None:
            exchange.held.leave(exchange)
        own = self._own
        if self._row is None and own[REQUESTS] < self._bounds[REQUESTS]:
            own[REQUESTS] += 1  # the common case of one worker
        elif not self.try_take(REQUESTS):
            raise self._full(REQUESTS, "requests are under way")
        exchange.held = self

    def leave(self, exchange: Exchange) -> None:
        """The exchange is over, or goes elsewhere."""
        exchange.held = None
        if self._row is None:
            self._own[REQUESTS] -= 1
        else:
            self.give_back(REQUESTS)
        if exchange.retrying:
            self.end_retry(exchange)

    def try_retry(self, exchange: Exchange) -> bool:
        """Count an exchange that is about to make a further attempt, once, until ``end_retry``."""
        if not exchange.retrying:
            exchange.retrying = self.try_take(RETRIES)
        return exchange.retrying

    def end_retry(self, exchange: Exchange) -> None:
        """It has its answer."""
        exchange.retrying = False
        self.give_back(RETRIES)

    # --- the pool's -------------------------------------------------------------------------------

    def wait(self) -> None:
        """Count a request that waits for a connection, until PENDING is given back. ProxyError 503."""
        if not self.try_take(PENDING):
            raise self._full(PENDING, "requests wait for a connection")

    @property
    def is_short(self) -> bool:
        """Whether requests wait, here or in another worker, because every connection is taken."""
        return self.is_full(CONNECTIONS) and self.total(PENDING) > 0

    def _full(self, kind: int, what: str) -> ProxyError:
        return ProxyError(
            503,
            Flag.UPSTREAM_OVERFLOW,
            "connection_limit_reached",
            f"{self._bounds[kind]} {what} to {self.name} (breaker.{NAMES[kind]})",
        )
