"""Pools of upstream connections: synchronous bookkeeping, one pool per PoolKey.

A place is reserved when a connection is assigned or its dial begins, so the bound holds at every instant. A released
connection goes to the longest waiter first; else it becomes idle, the latest used on top.
"""

from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

import trio

from proxyd.core.counts import CONNECTIONS, PENDING
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.limits import PoolLimits
from proxyd.core.service import Version, written
from proxyd.upstream.load import Load
from proxyd.wire.proxy_protocol import Place


class Told(NamedTuple):
    """What a connection says of its client before everything else (PROXY protocol): it carries nobody else's requests.

    Connections that tell of a client end with the client's own (``PoolSet.left``).
    """

    version: str
    source: Place | None
    """None: no client that has an address is behind it."""


class PoolKey(NamedTuple):
    """Everything that makes two connections not interchangeable."""

    address: str
    """Host or IP address that is dialled."""
    port: int
    name: str
    """Host that the certificate must be for and SNI names; empty without TLS."""
    configured: bool
    """The address comes from the configuration and not from a resolver."""
    policy: str
    """Fingerprint of trust roots and egress rules: a change of either starts anew."""
    protocol: str = Version.HTTP1.value
    """What is offered or known: a value of Version."""
    told: Told | None = None
    """None: no header of the PROXY protocol is sent."""


class Poolable(Protocol):
    """What a pool needs of a connection."""

    born: float
    idle_since: float
    requests: int

    def is_alive(self) -> bool:
        """Whether it can take another request; reads nothing away."""
        ...

    def close(self) -> None:
        """Close now."""
        ...


class _Waiter:
    __slots__ = ("connection", "error", "event", "granted")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.connection: Poolable | None = None
        self.granted = False
        self.error: ProxyError | None = None
        """Why there will be none."""


class Pool:
    """Connections to one PoolKey. ``open`` counts idle, lent and being dialled."""

    __slots__ = ("idle", "key", "limits", "load", "open", "retired", "waiters")

    def __init__(self, key: PoolKey, limits: PoolLimits) -> None:
        self.key = key
        self.limits = limits
        self.load: Load | None = None
        """Counts what is open, and who waits, for the service's thresholds."""
        self.idle: list[Poolable] = []
        self.open = 0
        self.waiters: deque[_Waiter] = deque()
        self.retired = False
        """A newer snapshot replaced this pool: nothing becomes idle any more."""

    def __repr__(self) -> str:
        return f"<Pool {self.key.address}:{self.key.port} open={self.open} idle={len(self.idle)}>"

    def take(self, now: float) -> Poolable | None:
        """Return an idle connection that is young enough and alive, closing those that are not.

        Every one is asked, however short it was idle: bytes that came unasked would answer the next request.
        """
        limits = self.limits
        while self.idle:
            connection = self.idle.pop()
            if (
                now - connection.idle_since < limits.idle
                and now - connection.born < limits.age
                and not 0 < limits.requests <= connection.requests
                and connection.is_alive()
            ):
                return connection
            connection.close()
            self._closed(1)
        return None

    def reserve(self) -> bool:
        """Take a place for a new connection; False when all are taken, here or in all workers together."""
        if self.open >= self.limits.connections:
            return False
        if self.load is not None and not self.load.try_take(CONNECTIONS):
            return False
        self.open += 1
        return True

    async def wait(self) -> Poolable | None:
        """Wait in line for a connection, or None: a place to dial. ProxyError 503 when the line is full.

        The place or connection passes on when the wait is cancelled.
        """
        if len(self.waiters) >= self.limits.pending:
            raise ProxyError(
                503, Flag.UPSTREAM_OVERFLOW, "connection_limit_reached", "too many requests wait for a connection"
            )
        waiter = _Waiter()
        load = self.load
        if load is not None:
            load.wait()
        self.waiters.append(waiter)
        try:
            await waiter.event.wait()
        except trio.Cancelled:
            if not waiter.granted:
                self.waiters.remove(waiter)
            elif waiter.connection is not None:
                self.release(waiter.connection, trio.current_time())
            elif waiter.error is None:
                self.failed(None)
            raise
        finally:
            if load is not None:
                load.give_back(PENDING)
        if waiter.error is not None:
            raise waiter.error
        return waiter.connection

    def dialled(self, connection: Poolable, now: float) -> None:
        """A place that was reserved has led to a connection, which is lent to whoever dialled."""

    def failed(self, error: ProxyError | None) -> None:
        """A place that was reserved has led to none: it is passed on. No error: whoever dialled gave up."""
        self.forfeit()

    def release(self, connection: Poolable, now: float) -> None:
        """Take a connection back that can carry another request."""
        if self.retired or self._expired(connection, now):
            self.discard(connection)
            return
        if self.waiters:
            self._grant(connection)
            return
        connection.idle_since = now
        self.idle.append(connection)

    def discard(self, connection: Poolable) -> None:
        """Take a connection back that cannot."""
        connection.close()
        self.forfeit()

    def forfeit(self) -> None:
        """Give a reserved place back, or on to the first waiter."""
        if self.waiters:
            self._grant(None)
        else:
            self._closed(1)

    def sweep(self, now: float) -> None:
        """Close idle connections that are too old, were closed by the other side, or are in the way of a waiter.

        Places that other pools and workers gave back are passed on here: nothing else tells the waiters of them.
        """
        kept = []
        load = self.load
        is_short = bool(self.idle) and load is not None and load.is_short
        for connection in self.idle:
            if (
                now - connection.idle_since >= self.limits.idle
                or self._expired(connection, now)
                or is_short
                or not connection.is_alive()
            ):
                connection.close()
                self._closed(1)
            else:
                kept.append(connection)
        self.idle = kept
        while load is not None and self.waiters and not load.is_full(CONNECTIONS) and self.reserve():
            self._grant(None)

    def retire(self) -> None:
        """Close what is idle now and what is lent when it comes back."""
        self.retired = True
        for connection in self.idle:
            connection.close()
        self._closed(len(self.idle))
        self.idle = []

    def count_idle(self) -> int:
        """Return how many connections carry nothing."""
        return len(self.idle)

    def count_with(self, load: Load | None) -> None:
        """Count what is open with ``load`` from now on."""
        if self.load is load:
            return
        if self.load is not None:
            self.load.give_back(CONNECTIONS, self.open)
        if load is not None:
            load.give_back(CONNECTIONS, -self.open)
        self.load = load

    def _closed(self, count: int) -> None:
        self.open -= count
        if self.load is not None:
            self.load.give_back(CONNECTIONS, count)

    def _grant(self, connection: Poolable | None) -> None:
        waiter = self.waiters.popleft()
        waiter.connection = connection
        waiter.granted = True
        waiter.event.set()

    def _expired(self, connection: Poolable, now: float) -> bool:
        limits = self.limits
        return now - connection.born >= limits.age or 0 < limits.requests <= connection.requests


class PoolSet:
    """All pools of one worker."""

    def __init__(self, make: Callable[[PoolKey, PoolLimits], Pool] = Pool) -> None:
        self._make = make
        self._pools: dict[PoolKey, Pool] = {}
        self.clients: dict[Place, set[PoolKey]] = {}
        """Keys of the pools whose connections tell of a client, by the client."""

    def get(self, key: PoolKey, limits: PoolLimits, load: Load | None = None) -> Pool:
        """Return the pool of ``key``, made when first asked for; ``limits`` and ``load`` hold from now on."""
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._make(key, limits)
            if key.told is not None and key.told.source is not None:
                self.clients.setdefault(key.told.source, set()).add(key)
        pool.limits = limits
        pool.count_with(load)
        return pool

    def sweep(self, now: float) -> None:
        """Sweep every pool and forget those that hold nothing."""
        for key, pool in list(self._pools.items()):
            pool.sweep(now)
            if not pool.open and not pool.waiters and pool.retired:
                del self._pools[key]

    def prune(self) -> None:
        """Forget pools that hold nothing; routes ask for theirs again."""
        for key, pool in list(self._pools.items()):
            if not pool.open and not pool.waiters:
                pool.retired = True
                del self._pools[key]

    def retire_others(self, policy: str) -> None:
        """Retire every pool that was made under another policy."""
        for key, pool in list(self._pools.items()):
            if key.policy != policy:
                pool.retire()
                del self._pools[key]

    def retire_left(self, endpoints: Collection[tuple[str, int]]) -> None:
        """Retire every pool to an endpoint that is none any more; ``endpoints`` are host and port of those that are."""
        for key, pool in list(self._pools.items()):
            if key.configured and (key.address, key.port) not in endpoints:
                pool.retire()
                del self._pools[key]

    def left(self, client: Place) -> None:
        """Retire every pool whose connections tell of a client that is gone."""
        for key in self.clients.pop(client, ()):
            pool = self._pools.pop(key, None)
            if pool is not None:
                pool.retire()

    def totals(self) -> tuple[int, int]:
        """Return how many connections are open, and how many of them idle."""
        open_count = idle_count = 0
        for pool in self._pools.values():
            open_count += pool.open
            idle_count += pool.count_idle()
        return open_count, idle_count

    def view(self) -> list[dict[str, object]]:
        """Describe every pool, for the admin socket."""
        return [
            {
                "address": written(key.address, key.port),
                "tls": key.name or None,
                "protocol": key.protocol,
                "client": written(*key.told.source) if key.told is not None and key.told.source is not None else None,
                "open": pool.open,
                "idle": pool.count_idle(),
                "waiting": len(pool.waiters),
                "limit": pool.limits.connections,
            }
            for key, pool in self._pools.items()
        ]
