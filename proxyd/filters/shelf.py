"""What of the cache outlives a snapshot: entries, and who is under way to the upstream for what."""

import time
from typing import Final

import trio

from proxyd.caching.memory import Key, Memory
from proxyd.caching.policy import Decision, Entry
from proxyd.core.headers import Headers

MAX_FLIGHTS: Final = 4096
"""Requests that others wait for."""

MAX_FUTILE: Final = 4096
FUTILE_SECONDS: Final = 2.0
"""For so long nobody waits for an answer that could not be kept."""


class Flight:
    """A request that is on its way to the upstream for all who ask for the same."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: trio.Event | None = None
        """Made by the first who waits: for most flights nobody does."""

    async def wait(self) -> None:
        """Return when it has landed."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()

    def land(self) -> None:
        """Wake those who wait."""
        if self._event is not None:
            self._event.set()


class Lookup:
    """What the cache knows of one exchange."""

    __slots__ = ("asked", "collapsed", "decision", "entry", "flight", "key", "requested", "scope")

    def __init__(self, key: Key, scope: str, asked: Headers, entry: Entry | None, decision: Decision) -> None:
        self.key = key
        self.scope = scope
        self.asked = asked
        """The request's fields as the client sent them."""
        self.entry = entry
        self.decision = decision
        self.flight: Flight | None = None
        self.requested = 0.0
        self.collapsed = False


class Shelf:
    """What outlives a snapshot: the worker's entries, and who is under way for what."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.flights: dict[tuple[Key, str], Flight] = {}
        self.futile: dict[tuple[Key, str], float] = {}

    def land(self, lookup: Lookup, *, kept: bool) -> None:
        """Tell those who wait; where nothing was kept, nobody waits for the like for a while."""
        flight, lookup.flight = lookup.flight, None
        if flight is None:
            return
        self.flights.pop((lookup.key, lookup.scope), None)
        if not kept:
            if len(self.futile) >= MAX_FUTILE:
                self.futile.clear()
            self.futile[lookup.key, lookup.scope] = time.monotonic() + FUTILE_SECONDS
        flight.land()

    def view(self) -> list[dict[str, object]]:
        """Describe what is kept, by service, for the admin socket."""
        return [
            {"service": name, "entries": count, "bytes": size} for name, (count, size) in self.memory.summary().items()
        ]

    def is_futile(self, place: tuple[Key, str]) -> bool:
        """Whether waiting for another's answer was in vain lately."""
        until = self.futile.get(place)
        if until is None:
            return False
        if until > time.monotonic():
            return True
        del self.futile[place]
        return False
