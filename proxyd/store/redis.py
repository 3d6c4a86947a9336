"""The store of a fleet: Redis or Valkey, by coredis (extra ``redis``). Loaded only where a URL says so.

A key is a hash of value and version; a script compares and writes in one step, on the server's clock. Members' keys
stand under a prefix, so that a server can be shared.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import coredis
import coredis.exceptions
import trio

from proxyd.core.secret import Secret
from proxyd.store.protocol import Entry, Store, StoreError, check

PREFIX: Final = "proxyd:"

TIMEOUT: Final = 2.0
"""Seconds that one call may take."""

_READ: Final = """
local now = redis.call('TIME')
local found = redis.call('HMGET', KEYS[1], 'd', 'v')
return {found[1] or '', found[2] or '0', now[1], now[2]}
"""

_SWAP: Final = """
local version = redis.call('HGET', KEYS[1], 'v') or '0'
if version ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
local later = string.format('%.0f', math.max(tonumber(version) + 1, now[1] * 1000000 + now[2]))
redis.call('HSET', KEYS[1], 'd', ARGV[2], 'v', later)
if ARGV[3] == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
"""

_FAILURES: Final = (coredis.exceptions.RedisError, OSError, trio.TooSlowError, TimeoutError)


class RedisStore(Store):
    """A store in a server."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._read = client.register_script(_READ)
        self._swap = client.register_script(_SWAP)

    async def read(self, key: str) -> Entry:
        """Return what stands under ``key``."""
        check(key)
        value, version, seconds, micros = await self._call(self._read, keys=[PREFIX + key], args=[])
        return Entry(value, int(version), int(seconds) + int(micros) / 1e6)

    async def swap(self, key: str, version: int, value: bytes, lifetime: float | None) -> bool:
        """Write if the version is still ``version``."""
        check(key, value)
        expiry = "" if lifetime is None else str(max(1, int(lifetime * 1000)))
        done = await self._call(self._swap, keys=[PREFIX + key], args=[str(version), value, expiry])
        return int(done) == 1

    async def remove(self, key: str) -> None:
        """Forget ``key``."""
        check(key)
        await self._call(self._client.delete, [PREFIX + key])

    async def scan(self, prefix: str, limit: int) -> dict[str, bytes]:
        """Return what stands under keys with this prefix."""
        check(prefix)
        found: dict[str, bytes] = {}
        pattern = PREFIX + "".join("\\" + letter if letter in "*?[]^\\" else letter for letter in prefix) + "*"
        cursor = 0
        while True:
            cursor, keys = await self._call(self._client.scan, cursor, match=pattern, count=500)
            for key in keys:
                value = await self._call(self._client.hget, key, "d")
                if value is not None and len(found) < limit:
                    found[key.decode()[len(PREFIX) :]] = value
            if not cursor or len(found) >= limit:
                return found

    async def close(self) -> None:
        """The connections end with ``open_redis``."""

    async def _call(self, call: Any, *arguments: Any, **options: Any) -> Any:
        try:
            with trio.fail_after(TIMEOUT):
                return await call(*arguments, **options)
        except _FAILURES as error:
            raise StoreError(f"the store does not answer: {str(error) or type(error).__name__}") from error


@asynccontextmanager
async def open_redis(url: str, password: Secret | None, roots_pem: str | None) -> AsyncIterator[RedisStore]:
    """Connect lazily to ``redis://[user@]host:port/db``, ``rediss://`` (TLS) or ``unix:///path``.

    The password comes apart from the URL, which stands in configurations and errors.
    """
    client = coredis.Redis(**_options(url, password, roots_pem))
    async with client:
        yield RedisStore(client)


def _options(url: str, password: Secret | None, roots_pem: str | None) -> dict[str, Any]:
    parts = urlsplit(url)
    options: dict[str, Any] = {
        "db": int(parts.path.strip("/") or 0) if parts.scheme != "unix" else 0,
        "username": unquote(parts.username) if parts.username else None,
        "password": password.reveal().decode() if password is not None else None,
        "connect_timeout": TIMEOUT,
        "stream_timeout": TIMEOUT,
        "max_connections": 8,
        "client_name": "proxyd",
    }
    if parts.scheme == "unix":
        options["unix_socket_path"] = parts.path
    else:
        options |= {"host": parts.hostname or "127.0.0.1", "port": parts.port or 6379}
    if parts.scheme == "rediss":
        options["ssl_context"] = ssl.create_default_context(cadata=roots_pem)
    return options
