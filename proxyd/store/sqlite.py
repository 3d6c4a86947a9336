"""The store of one machine: an SQLite file, on a thread of its own (apsw).

Write-ahead log with full synchronisation: what ``swap`` said is there survives a kill at any instant and a power cut.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import trio

from proxyd.core.units import MIB
from proxyd.store.migrations import migrate
from proxyd.store.protocol import Entry, Store, StoreError, check

_BUSY_MILLISECONDS: Final = 2000
_LOG_BYTES: Final = 4 * MIB
_SWEEP_EVERY: Final = 256
"""Writes between two removals of what has vanished."""

_SWEEP_MOST: Final = 1024

_READ: Final = "SELECT value, version FROM entry WHERE key = ? AND (vanishes IS NULL OR vanishes > ?)"
_WRITE: Final = """
    INSERT INTO entry (key, value, version, vanishes) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version, vanishes = excluded.vanishes
"""
_SCAN: Final = """
    SELECT key, value FROM entry
    WHERE key >= ? AND key < ? AND (vanishes IS NULL OR vanishes > ?) ORDER BY key LIMIT ?
"""
_SWEEP: Final = """
    DELETE FROM entry WHERE key IN (SELECT key FROM entry WHERE vanishes <= ? ORDER BY vanishes LIMIT ?)
"""

_T = TypeVar("_T")


class SqliteStore(Store):
    """A store in one file."""

    def __init__(self, connection: Any, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self._writes = 0

    async def read(self, key: str) -> Entry:
        """Return what stands under ``key``."""
        check(key)
        now = self._clock()
        row = await self._run(self._first, _READ, (key, now))
        return Entry(row[0], row[1], now) if row is not None else Entry(b"", 0, now)

    async def swap(self, key: str, version: int, value: bytes, lifetime: float | None) -> bool:
        """Write if the version is still ``version``."""
        check(key, value)
        return await self._run(self._swap, key, version, value, lifetime)

    async def remove(self, key: str) -> None:
        """Forget ``key``."""
        check(key)
        await self._run(self._execute, "DELETE FROM entry WHERE key = ?", (key,))

    async def scan(self, prefix: str, limit: int) -> dict[str, bytes]:
        """Return what stands under keys with this prefix."""
        check(prefix)
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        rows = await self._run(self._all, _SCAN, (prefix, after, self._clock(), limit))
        return dict(rows)

    async def close(self) -> None:
        """Close the file."""
        await self._connection.aclose()

    async def _run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        try:
            result: _T = await self._connection.async_run(call, *arguments)
        except apsw.ConnectionClosedError:
            raise StoreError("the store is closed") from None
        except apsw.FullError:
            raise StoreError("the disk is full") from None
        except apsw.Error as error:
            raise StoreError(f"{type(error).__name__}: {error}") from error
        return result

    # --- on the connection's own thread -----------------------------------------------------------

    def _swap(self, key: str, version: int, value: bytes, lifetime: float | None) -> bool:
        now = self._clock()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = self._first(_READ, (key, now))
            if (row[1] if row is not None else 0) != version:
                connection.execute("ROLLBACK")
                return False
            later = max(version + 1, int(now * 1e6))  # a key that vanished and came back never has an old version
            connection.execute(_WRITE, (key, value, later, None if lifetime is None else now + lifetime))
            self._writes += 1
            if self._writes % _SWEEP_EVERY == 0:
                connection.execute(_SWEEP, (now, _SWEEP_MOST))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return True

    def _execute(self, statement: str, bindings: tuple[Any, ...]) -> None:
        self._connection.execute(statement, bindings)

    def _first(self, statement: str, bindings: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return next(iter(self._connection.execute(statement, bindings)), None)

    def _all(self, statement: str, bindings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(statement, bindings))


@asynccontextmanager
async def open_sqlite(path: Path, clock: Callable[[], float] = time.time) -> AsyncIterator[SqliteStore]:
    """Open, or make, the file, only its owner may read it. StoreError when that is impossible."""
    with trio.CancelScope(shield=True):  # _BUSY_MILLISECONDS at most; left half-way, the connection's thread would stay
        connection = await _opened(path)
    store = SqliteStore(connection, clock)
    try:
        yield store
    finally:
        with trio.CancelScope(shield=True):  # a thread that is not told to end keeps the process
            await store.close()


async def _opened(path: Path) -> Any:
    connection: Any = None
    try:
        await trio.Path(path).touch(mode=0o600)
        connection = await apsw.Connection.as_async(str(path))
        await connection.async_run(_prepare, connection)
    except (apsw.Error, OSError, ValueError) as error:
        if connection is not None:
            await connection.aclose()
        raise StoreError(f"{path}: {error}") from error
    return connection


def _prepare(connection: Any) -> None:
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    migrate(connection)
