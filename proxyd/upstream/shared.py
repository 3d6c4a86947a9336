"""Pools whose connections may carry many exchanges at a time (HTTP/2). Synchronous, as ``pool``.

A connection is listed among ``idle`` while it has room, and leaves it when it is full, too old, or told to go; what it
carries then ends in peace. Dials are few: who comes while one is under way waits for it, unless more are waiting than
it will have room for. Its peer's SETTINGS say how many that is, so a dial counts as under way until they are there.
"""

import abc
from typing import Final

from proxyd.core.errors import ProxyError
from proxyd.core.limits import PoolLimits
from proxyd.core.service import Version
from proxyd.upstream.pool import Pool, Poolable, PoolKey

MAX_REQUESTS: Final = 2**30 - 2
"""Of one connection: stream numbers are odd, and below 2^31 (RFC 9113 §5.1.1)."""


class Shared(abc.ABC):
    """What a pool knows of a connection that carries many exchanges at a time."""

    def __init__(self, pool: "SharedPool", now: float) -> None:
        self.pool = pool
        self.born = self.idle_since = now
        self.requests = 0
        self.taken = 1
        """Exchanges that it carries, or is about to: whoever dialled is the first."""
        self.capacity = 1
        """Exchanges that it may carry: one until its peer's SETTINGS are there."""
        self.is_settled = False
        self.is_leaving = False
        """It takes no further exchange, and ends with its last."""
        self.is_listed = False
        """It is among the pool's ``idle``."""

    @property
    def has_room(self) -> bool:
        """Whether it can take another exchange."""
        return self.taken < self.capacity and not self.is_leaving

    @abc.abstractmethod
    def is_alive(self) -> bool:
        """Whether its peer is there, as far as can be seen without asking."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close now; idempotent. Tells the pool by ``lost``, unless it was lost before."""

    @abc.abstractmethod
    def tend(self, now: float) -> None:
        """Look after it, once in a while."""

    # --- the connection's own ---------------------------------------------------------------------

    def settled(self, streams: int, now: float) -> None:
        """The peer lets it carry so many exchanges."""
        pool = self.pool
        self.capacity = min(streams, pool.limits.streams)
        pool.capacity = max(1, self.capacity)
        if not self.is_settled:
            self.is_settled = True
            pool.dialling -= 1
        pool.look(self, now)

    def give_back(self, now: float) -> None:
        """An exchange is over with it."""
        self.taken -= 1
        if not self.taken:
            self.idle_since = now
        self.pool.look(self, now)

    def leave(self, now: float) -> None:
        """Take no further exchange."""
        self.is_leaving = True
        self.pool.look(self, now)


class SharedPool(Pool):
    """As Pool. A place is a connection's; an exchange takes room on one."""

    __slots__ = ("capacity", "connections", "dialling")

    def __init__(self, key: PoolKey, limits: PoolLimits) -> None:
        super().__init__(key, limits)
        self.connections: set[Shared] = set()
        self.dialling = 0
        """Dials, and connections whose SETTINGS are not there yet."""
        self.capacity = limits.streams
        """Exchanges that a connection is expected to have room for; 0: the upstream speaks HTTP/1.1."""

    def take(self, now: float) -> Poolable | None:
        """Return a connection with room for another exchange, which is taken. Earlier ones are filled first."""
        idle = self.idle
        while idle:
            connection = idle[-1]
            if not isinstance(connection, Shared):
                idle.pop()
                if self._is_usable(connection, now):
                    return connection
                self.discard(connection)
            elif self._is_usable(connection, now, is_busy=connection.taken > 0):
                connection.taken += 1
                if not connection.has_room:
                    idle.pop()
                    connection.is_listed = False
                return connection
            else:
                connection.leave(now)
        return None

    def reserve(self) -> bool:
        """Take a place for a new connection; False too while dials are under way that will have room."""
        if self._is_awaited() or not super().reserve():
            return False
        self.dialling += 1
        return True

    def dialled(self, connection: Poolable, now: float) -> None:
        """Keep a connection of many exchanges; learn from one of a single."""
        if isinstance(connection, Shared):
            self.connections.add(connection)
            return
        self.dialling -= 1
        self.capacity = 0
        self._dial_on()

    def failed(self, error: ProxyError | None) -> None:
        """Pass the place on, or tell all who wait for this dial that it has failed."""
        self.dialling -= 1
        if error is not None and not self.dialling and not self.connections and self.capacity:
            while self.waiters:
                waiter = self.waiters.popleft()
                waiter.error = _again(error)
                waiter.granted = True
                waiter.event.set()
        self.forfeit()

    def forfeit(self) -> None:
        """Give a place back, or on to the first waiter when it should dial."""
        self._closed(1)
        self._dial_on()

    def release(self, connection: Poolable, now: float) -> None:
        """Take back what an exchange did not use, or a connection that carries one at a time."""
        if isinstance(connection, Shared):
            connection.give_back(now)
        else:
            super().release(connection, now)

    def look(self, connection: Shared, now: float) -> None:
        """A connection's room has changed: list it, serve who waits, or let it go with its last exchange."""
        if connection not in self.connections:
            return
        if self.retired or self._expired(connection, now) or connection.requests >= MAX_REQUESTS:
            connection.is_leaving = True
        if connection.is_leaving and not connection.taken:
            connection.close()
            return
        while self.waiters and connection.has_room:
            connection.taken += 1
            self._grant(connection)
        if connection.has_room is not connection.is_listed:
            connection.is_listed = connection.has_room
            if connection.is_listed:
                self.idle.append(connection)
            else:
                self.idle.remove(connection)
        self._dial_on()

    def lost(self, connection: Shared) -> None:
        """A connection is closed: its place is free."""
        self.connections.discard(connection)
        if connection.is_listed:
            connection.is_listed = False
            self.idle.remove(connection)
        if not connection.is_settled:
            connection.is_settled = True
            self.dialling -= 1
        self.forfeit()

    def sweep(self, now: float) -> None:
        """Close idle connections as Pool does; look after those that carry something."""
        load = self.load
        is_short = load is not None and load.is_short
        for connection in tuple(self.connections):
            is_busy = connection.taken > 0
            if not self._is_usable(connection, now, is_busy=is_busy) or (is_short and not is_busy):
                connection.leave(now)
            connection.tend(now)
        busy = [one for one in self.idle if isinstance(one, Shared)]
        self.idle = [one for one in self.idle if not isinstance(one, Shared)]
        super().sweep(now)
        self.idle = busy + self.idle

    def retire(self) -> None:
        """Close what is idle now; the rest ends with its last exchange."""
        self.retired = True
        for connection in self.idle:
            if not isinstance(connection, Shared):
                connection.close()
                self._closed(1)
        self.idle = [one for one in self.idle if isinstance(one, Shared)]
        for connection in tuple(self.connections):
            self.look(connection, connection.idle_since)

    def count_idle(self) -> int:
        """Return how many connections carry nothing."""
        return sum(1 for one in self.idle if not isinstance(one, Shared) or not one.taken)

    def _is_usable(self, connection: Poolable, now: float, *, is_busy: bool = False) -> bool:
        return (
            (is_busy or now - connection.idle_since < self.limits.idle)
            and not self._expired(connection, now)
            and connection.is_alive()
        )

    def _is_awaited(self) -> bool:
        """Whether dials that are under way will have room for one more who waits."""
        return len(self.waiters) < self._coming()

    def _coming(self) -> int:
        """Return how many more exchanges dials that are under way will have room for; whoever dials has its own."""
        return self.dialling * max(0, self.capacity - 1)

    def _dial_on(self) -> None:
        """Have waiters dial, as many as are needed besides the dials that are under way."""
        while len(self.waiters) > self._coming() and super().reserve():
            self.dialling += 1
            self._grant(None)


def make_pool(key: PoolKey, limits: PoolLimits) -> Pool:
    """Return the pool for a key."""
    return Pool(key, limits) if key.protocol == Version.HTTP1.value else SharedPool(key, limits)


def _again(error: ProxyError) -> ProxyError:
    """Return an error like this one, for another exchange."""
    return ProxyError(error.status, error.flag, error.error, error.detail, side=error.side, retry=error.retry)
