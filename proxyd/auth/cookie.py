"""A credential in a cookie (RFC 6265 §4.2): the client's own of that name goes, its others stay."""

import re
from collections.abc import Mapping
from typing import Final

from proxyd.auth.values import long_enough, value_of
from proxyd.core.headers import Headers
from proxyd.core.service import Auth

_COOKIE: Final = b"cookie"
_NO_COOKIE: Final = re.compile(rb"[^\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]").search  # RFC 6265 §4.1.1, cookie-octet


class CookieInjector:
    """Sets one cookie or more."""

    fields: frozenset[bytes] = frozenset({_COOKIE})
    query_names: tuple[bytes, ...] = ()
    signs = False

    def __init__(self, auth: Auth) -> None:
        self._parts = [(part.name.encode("ascii"), part.prefix.encode("utf-8"), part.secret) for part in auth.parts]
        self._names = frozenset(name for name, _, _ in self._parts)
        self.secret_names = tuple(secret for _, _, secret in self._parts)

    def apply(self, headers: Headers, path: bytes, values: Mapping[str, bytes]) -> tuple[Headers, bytes]:
        """Return the headers with one Cookie field; KeyError, ValueError."""
        pairs = [pair for pair in _pairs(headers) if _name(pair) not in self._names]
        for name, prefix, secret in self._parts:
            value = prefix + value_of(secret, values)
            if _NO_COOKIE(value):
                raise ValueError(f"the secret {secret} holds a character that no cookie can carry")
            pairs.append(name + b"=" + value)
        kept = [item for item in headers if item[0] != _COOKIE]
        kept.append((_COOKIE, b"; ".join(pairs)))
        return kept, path

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether one of the cookies is there already."""
        return any(_name(pair) in self._names for pair in _pairs(headers))

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Return each secret."""
        return long_enough(*(value_of(name, values) for name in self.secret_names))


def _pairs(headers: Headers) -> list[bytes]:
    """Return the client's pairs; HTTP/2 may send a field for each (RFC 9113 §8.2.3)."""
    found = [pair.strip() for name, value in headers if name == _COOKIE for pair in value.split(b";")]
    return [pair for pair in found if pair]


def _name(pair: bytes) -> bytes:
    return pair.partition(b"=")[0].strip()
