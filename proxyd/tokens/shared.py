"""One token for all processes and hosts that hold the same credential: a sealed record and a lease in the store.

Whoever asks the issuer holds the lease, which is renewed while the question is under way; the others wait for the
record. What stands in the store is sealed by a key that is made of the credential's own secrets (scrypt, RFC 7914), so
that nobody reads it who could not ask the issuer, and no configuration is needed for it. A refresh token that rotates
is no part of that key: it is part of the record.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxyd.core.settings import TokenSource
from proxyd.core.units import DAY
from proxyd.store.protocol import Change, Store, update

LEASE_SECONDS: Final = 15.0
"""A holder that is gone is waited for so long."""

RENEW_SECONDS: Final = 4.0

KEPT_SECONDS: Final = 90 * DAY
"""A record outlives its last writing by this much: it may hold the only good refresh token."""

LEAST_SECONDS: Final = 10.0
"""A token with less left to live is not taken over."""

MAX_REPLACED: Final = 16
"""Secrets that are known to have been replaced."""

ROTATING: Final = frozenset({"refresh_token"})
"""Fields whose secrets the issuer may replace."""

_ID_BYTES: Final = 16
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Key(NamedTuple):
    """Where a credential's record stands, and what seals it."""

    place: str
    seal: bytes

    def __repr__(self) -> str:
        return f"Key({self.place})"


class Token(NamedTuple):
    """What a record holds."""

    number: int
    """Rises with each token of the credential."""
    expires: float
    """By the store's clock."""
    values: dict[str, bytes]
    """By field."""
    rotated: dict[str, bytes]
    """The secrets that are good to ask with now, of those that the issuer may replace, by field."""
    replaced: tuple[bytes, ...] = ()
    """Digests of those that were good before."""

    def __repr__(self) -> str:
        return f"Token(number={self.number}, {sorted(self.values)})"


class Taken(NamedTuple):
    """The answer to who asks for a token: one of the three."""

    token: Token | None = None
    """There is one already. Where ``fence`` is given too, it is the last known one, for its rotated secrets."""
    fence: int = 0
    """The lease is yours, with this number; 0: it is not."""
    seconds: float = 0.0
    """Somebody else asks; his lease ends in so long."""
    life: float = 0.0
    """Seconds that ``token`` has left."""


@dataclass(frozen=True, slots=True, repr=False)
class _Record:
    """What stands in the store."""

    holder: str = ""
    until: float = 0.0
    """When the lease ends, by the store's clock."""
    fence: int = 0
    number: int = 0
    expires: float = 0.0
    sealed: bytes = b""

    def encode(self) -> bytes:
        packed: bytes = msgpack.packb([self.holder, self.until, self.fence, self.number, self.expires, self.sealed])
        return packed


def key_of(source: TokenSource, secret: Callable[[str], bytes | None]) -> Key | None:
    """Return the key of a credential; None: no secret of it stays as it is, so nothing can be shared.

    Takes some 50 ms and 16 MiB.
    """
    fixed = [(field, secret(name)) for field, name in sorted(source.secrets) if name and field not in ROTATING]
    if not fixed or any(value is None for _, value in fixed):
        return None
    what = msgpack.packb([source.flow, source.url, sorted(source.options)])
    salt = b"proxyd token 1 " + hashlib.sha256(what).digest()
    size = _ID_BYTES + _KEY_BYTES
    derived = hashlib.scrypt(msgpack.packb(fixed), salt=salt, n=2**14, r=8, p=1, dklen=size)
    return Key(f"token/{derived[:_ID_BYTES].hex()}", derived[_ID_BYTES:])


def digest(secret: bytes) -> bytes:
    """Return what tells a secret that was replaced; it stands in sealed records alone."""
    return hashlib.sha256(b"proxyd token 1 " + secret).digest()[:_ID_BYTES]


class Place:
    """One credential's record."""

    def __init__(self, store: Store, key: Key, member: str) -> None:
        self._store = store
        self._key = key
        self._member = member

    async def take(self, known: int) -> Taken:
        """Return a token with a higher number than ``known``, or take the lease. StoreError."""
        record, taken = await update(self._store, self._key.place, lambda value, now: self._taking(value, now, known))
        token = self._opened(record)
        if taken.life:
            return taken._replace(token=token) if token is not None else await self._forced()
        return taken._replace(token=token)

    async def renew(self, fence: int) -> bool:
        """Hold the lease on; False: it is another's by now. StoreError."""

        def change(value: bytes, now: float) -> tuple[Change, bool]:
            record = _decode(value)
            if (record.holder, record.fence) != (self._member, fence):
                return Change(None, None), False
            return _written(replace(record, until=now + LEASE_SECONDS)), True

        return await update(self._store, self._key.place, change)

    async def put(
        self,
        fence: int,
        values: Mapping[str, bytes],
        rotated: Mapping[str, bytes],
        life: float,
        replaced: Sequence[bytes] = (),
    ) -> int:
        """Write a new token and let the lease go; return its number, 0 where somebody else was faster. StoreError."""

        def change(value: bytes, now: float) -> tuple[Change, int]:
            record = _decode(value)
            if record.fence != fence:
                return Change(None, None), 0
            number = record.number + 1
            sealed = self._sealed(number, values, rotated, replaced)
            return _written(_Record("", 0.0, fence, number, now + life, sealed)), number

        return await update(self._store, self._key.place, change)

    async def release(self, fence: int) -> None:
        """Let the lease go without a token. StoreError."""

        def change(value: bytes, now: float) -> tuple[Change, None]:
            record = _decode(value)
            if (record.holder, record.fence) != (self._member, fence):
                return Change(None, None), None
            return _written(replace(record, holder="", until=0.0)), None

        await update(self._store, self._key.place, change)

    def _taking(self, value: bytes, now: float, known: int) -> tuple[Change, tuple[_Record, Taken]]:
        record = _decode(value)
        same = Change(None, None)
        if record.number > known and record.expires - now > LEAST_SECONDS:
            return same, (record, Taken(life=record.expires - now))
        if record.holder and record.holder != self._member and record.until > now:
            return same, (record, Taken(seconds=record.until - now))
        mine = replace(record, holder=self._member, until=now + LEASE_SECONDS, fence=record.fence + 1)
        return _written(mine), (record, Taken(fence=mine.fence))

    async def _forced(self) -> Taken:
        """Take the lease over a record that this key does not open."""
        _, taken = await update(self._store, self._key.place, lambda value, now: self._taking(value, now, 2**62))
        return taken

    def _sealed(
        self, number: int, values: Mapping[str, bytes], rotated: Mapping[str, bytes], replaced: Sequence[bytes]
    ) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        what = msgpack.packb([dict(values), dict(rotated), list(replaced)[-MAX_REPLACED:]])
        return nonce + AESGCM(self._key.seal).encrypt(nonce, what, self._bound_to(number))

    def _opened(self, record: _Record) -> Token | None:
        try:
            nonce, sealed = record.sealed[:_NONCE_BYTES], record.sealed[_NONCE_BYTES:]
            what: Any = msgpack.unpackb(AESGCM(self._key.seal).decrypt(nonce, sealed, self._bound_to(record.number)))
            *parts, replaced = what
            values, rotated = ({str(name): bytes(value) for name, value in part.items()} for part in parts)
        except (InvalidTag, ValueError, TypeError, AttributeError, msgpack.UnpackException):
            return None
        return Token(record.number, record.expires, values, rotated, tuple(map(bytes, replaced)))

    def _bound_to(self, number: int) -> bytes:
        return f"{self._key.place} {number}".encode()


def _written(record: _Record) -> Change:
    return Change(record.encode(), KEPT_SECONDS)


def _decode(value: bytes) -> _Record:
    """Read a record; what makes no sense is none."""
    try:
        parts: Any = msgpack.unpackb(value, max_ext_len=0)
        holder, until, fence, number, expires, sealed = parts
        return _Record(str(holder), float(until), int(fence), int(number), float(expires), bytes(sealed))
    except (ValueError, TypeError, msgpack.UnpackException):  # nothing at all, too
        return _Record()
