"""The vault's file and its anchor as bytes: what stands in them, encoded and taken apart. No I/O, no keys.

A file is a magic line, a MessagePack map and 32 bytes that authenticate both. Names and times stand in clear, for
``proxyd check`` and for messages; values do not.
"""

import hmac
import re
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgpack

from proxyd.core.plain import from_plain, to_plain
from proxyd.core.units import KIB, MIB
from proxyd.vault.cipher import ID_BYTES, TAG_BYTES, Scrypt
from proxyd.vault.errors import VaultError

MAGIC: Final = b"proxyd-vault 1\n"
ANCHOR_MAGIC: Final = b"proxyd-vault-anchor 1\n"

MAX_VALUE: Final = 64 * KIB
MAX_SECRETS: Final = 1024
MAX_VERSIONS: Final = 8
"""Of one secret at a time: the current one and those whose overlap lasts."""
MAX_FILE: Final = 16 * MIB
MAX_VERSION: Final = 2**53
INTERNAL: Final = "@"
"""Begins the names of what proxyd keeps for itself; nobody else can use them."""

_NAME: Final = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
"""As the configuration writes names of secrets (proxyd.reading.names)."""
_MAX_TEXT: Final = 4096

KINDS: Final = ("file", "credential", "env", "passphrase")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """Which key opens the file, and where it was found when the file was written."""

    kind: str
    """One of KINDS."""
    place: str
    """A path, or the name of a variable or credential: where to look, not a secret."""
    id: bytes
    salt: bytes = b""
    """Of a passphrase."""
    n: int = 0
    r: int = 0
    p: int = 0

    @property
    def scrypt(self) -> Scrypt:
        """Parameters for a passphrase."""
        return Scrypt(self.n, self.r, self.p)

    @property
    def title(self) -> str:
        """How people are told of it."""
        names = {"file": "key file", "credential": "systemd credential", "env": "key in the environment variable"}
        if self.kind == "passphrase":
            return f"passphrase ({self.place})" if self.place else "passphrase"
        return f"{names[self.kind]} {self.place}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one secret."""

    name: str
    version: int
    created: float
    """Unix time."""
    until: float
    """Unix time at which its overlap ends; 0: it is the current version."""
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """All that a vault's file says."""

    id: bytes
    generation: int
    """Rises by one with every write."""
    key: KeyInfo
    wrapped: bytes
    entries: tuple[Entry, ...] = ()

    def versions(self, name: str) -> list[Entry]:
        """Return the versions of a secret, oldest first."""
        return sorted((entry for entry in self.entries if entry.name == name), key=lambda entry: entry.version)

    def current(self, name: str) -> Entry | None:
        """Return the version in use."""
        return next((entry for entry in self.entries if entry.name == name and not entry.until), None)

    @property
    def names(self) -> list[str]:
        """Names of all secrets but proxyd's own, sorted."""
        return sorted({entry.name for entry in self.entries if not entry.name.startswith(INTERNAL)})

    def pruned(self, now: float) -> "Image":
        """Return the image without versions whose overlap has ended."""
        return replace(self, entries=tuple(entry for entry in self.entries if not 0 < entry.until <= now))


@dataclass(frozen=True, slots=True)
class Anchor:
    """The second place that knows how far the vault has come."""

    id: bytes
    generation: int
    tag: bytes
    """Of the file of this generation."""


def check_name(name: str) -> str:
    """Return ``name``, a secret's name that a person may use; VaultError."""
    if not _NAME.fullmatch(name) or name.startswith(INTERNAL):
        raise VaultError(
            "not the name of a secret; use up to 128 letters, digits, '.', '_', '-' and '/', a letter or digit first"
        )
    return name


def encode(image: Image) -> bytes:
    """Return the file without its authentication."""
    return MAGIC + _pack(to_plain(image))


def split(data: bytes, where: str) -> tuple[bytes, bytes]:
    """Return a file's body and authentication. VaultError: it is not one."""
    if not data.startswith(MAGIC):
        if data.startswith(b"proxyd-vault "):
            raise VaultError(f"{where} was written by another version of proxyd; use the one that wrote it")
        raise VaultError(f"{where} is not a vault of proxyd; put the right file there, or restore a backup")
    if len(data) <= len(MAGIC) + TAG_BYTES:
        raise damaged(where)
    return data[:-TAG_BYTES], data[-TAG_BYTES:]


def decode(body: bytes, where: str) -> Image:
    """Return what a file's body says; every bound holds for it. VaultError: it is damaged."""
    image = _unpack(Image, body[len(MAGIC) :], where)
    current = [entry.name for entry in image.entries if not entry.until]
    unique = {(entry.name, entry.version) for entry in image.entries}
    names = {entry.name for entry in image.entries}
    bounded = (
        len(image.id) == ID_BYTES
        and 0 < image.generation < MAX_VERSION
        and image.key.kind in KINDS
        and len(image.key.place) <= _MAX_TEXT
        and len(image.key.id) == ID_BYTES
        and (image.key.kind != "passphrase" or image.key.scrypt.is_sane)
        and len(names) <= MAX_SECRETS + 1
        and len(unique) == len(image.entries)
        and len(set(current)) == len(current) == len(names)
        and all(_NAME.fullmatch(entry.name) and 0 < entry.version < MAX_VERSION for entry in image.entries)
    )
    if not bounded:
        raise damaged(where)
    return image


def encode_anchor(anchor: Anchor) -> bytes:
    """Return the anchor's file without its authentication."""
    return ANCHOR_MAGIC + _pack(to_plain(anchor))


def decode_anchor(data: bytes, where: str) -> tuple[Anchor, bytes, bytes]:
    """Return the anchor, its body and its authentication. VaultError: it is damaged."""
    if not data.startswith(ANCHOR_MAGIC) or len(data) <= len(ANCHOR_MAGIC) + TAG_BYTES:
        raise damaged(where)
    body = data[:-TAG_BYTES]
    anchor = _unpack(Anchor, body[len(ANCHOR_MAGIC) :], where)
    if not 0 < anchor.generation < MAX_VERSION:
        raise damaged(where)
    return anchor, body, data[-TAG_BYTES:]


def same(one: bytes, other: bytes) -> bool:
    """Compare authentications in constant time."""
    return hmac.compare_digest(one, other)


def damaged(where: str) -> VaultError:
    """Return the error for bytes that proxyd did not write like that."""
    return VaultError(f"{where} is damaged or was changed by something else; restore a backup (proxyd secret restore)")


def _pack(plain: Any) -> bytes:
    packed: bytes = msgpack.packb(plain, use_bin_type=True)
    return packed


def _unpack(kind: type[T], data: bytes, where: str) -> T:
    try:
        return from_plain(kind, msgpack.unpackb(data, raw=False))
    except (ValueError, TypeError, msgpack.UnpackException):
        raise damaged(where) from None
