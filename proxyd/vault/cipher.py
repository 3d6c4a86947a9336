"""The vault's cryptography: bytes in, bytes out.

A key (32 random bytes, or a passphrase through scrypt) opens nothing but the *wrapped* part, which holds the data key
and the anchor key. The data key gives, through HKDF, one key that seals values (AES-256-GCM, a random 96-bit nonce
each, name and version as associated data) and one that authenticates the file as a whole (HMAC-SHA-256).
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxyd.core.units import MIB

KEY_BYTES: Final = 32
ID_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 32

_CONTEXT: Final = b"proxyd vault 1 "
_MAX_SCRYPT_BYTES: Final = 512 * MIB


@dataclass(frozen=True, slots=True)
class Scrypt:
    """Parameters of scrypt (RFC 7914); the defaults are OWASP's and take 128 MiB for some 0.4 s."""

    n: int = 2**17
    r: int = 8
    p: int = 1

    @property
    def is_sane(self) -> bool:
        """Whether deriving a key stays within the memory that is allowed for it."""
        power = self.n > 1 and self.n & (self.n - 1) == 0
        return power and 1 <= self.r <= 64 and 1 <= self.p <= 16 and 128 * self.n * self.r <= _MAX_SCRYPT_BYTES

    def derive(self, passphrase: bytes, salt: bytes) -> bytes:
        """Return 32 bytes."""
        memory = 128 * self.r * (self.n + self.p + 2) + MIB
        return hashlib.scrypt(passphrase, salt=salt, n=self.n, r=self.r, p=self.p, maxmem=memory, dklen=KEY_BYTES)


@dataclass(frozen=True, slots=True, repr=False)
class DataKeys:
    """What the wrapped part holds."""

    data: bytes
    anchor: bytes
    """Authenticates the anchor; it outlives a change of the data key."""

    @classmethod
    def fresh(cls, anchor: bytes = b"") -> "DataKeys":
        """Return a new data key, and a new anchor key unless one is given."""
        return cls(os.urandom(KEY_BYTES), anchor or os.urandom(KEY_BYTES))

    def __repr__(self) -> str:
        return "<DataKeys>"


def key_id(material: bytes, vault: bytes) -> bytes:
    """Return what tells whether a key belongs to a vault without giving it away."""
    return hkdf(material, vault, b"key id")[:ID_BYTES]


def wrap(keys: DataKeys, material: bytes, vault: bytes) -> bytes:
    """Seal the data keys with a key."""
    return _seal(hkdf(material, vault, b"wrap"), keys.data + keys.anchor, _CONTEXT + b"wrapped " + vault)


def unwrap(sealed: bytes, material: bytes, vault: bytes) -> DataKeys:
    """Open what ``wrap`` sealed. ValueError: another key, or other bytes."""
    both = _open(hkdf(material, vault, b"wrap"), sealed, _CONTEXT + b"wrapped " + vault)
    if len(both) != 2 * KEY_BYTES:
        raise ValueError("the wrapped part has another length")
    return DataKeys(both[:KEY_BYTES], both[KEY_BYTES:])


def seal_value(keys: DataKeys, vault: bytes, name: str, version: int, value: bytes) -> bytes:
    """Seal one version of one secret."""
    return _seal(hkdf(keys.data, vault, b"values"), value, _place(vault, name, version))


def open_value(keys: DataKeys, vault: bytes, name: str, version: int, sealed: bytes) -> bytes:
    """Open what ``seal_value`` sealed under the same name and version. ValueError otherwise."""
    return _open(hkdf(keys.data, vault, b"values"), sealed, _place(vault, name, version))


def file_tag(keys: DataKeys, vault: bytes, body: bytes) -> bytes:
    """Return the authentication of a whole file."""
    return hmac.digest(hkdf(keys.data, vault, b"file"), body, "sha256")


def anchor_tag(keys: DataKeys, vault: bytes, body: bytes) -> bytes:
    """Return the authentication of an anchor."""
    return hmac.digest(hkdf(keys.anchor, vault, b"anchor"), body, "sha256")


def hkdf(material: bytes, salt: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose (RFC 5869 with SHA-256)."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt, _CONTEXT + purpose).derive(material)


def _place(vault: bytes, name: str, version: int) -> bytes:
    return _CONTEXT + b"value " + vault + version.to_bytes(8, "big") + name.encode("utf-8")


def _seal(key: bytes, clear: bytes, associated: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, clear, associated)


def _open(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except (InvalidTag, ValueError):
        raise ValueError("it was sealed with another key or is damaged") from None
