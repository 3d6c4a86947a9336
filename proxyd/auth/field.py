"""Credentials in header fields: bearer (RFC 6750 §2.1), basic (RFC 7617) and fields of a vendor's own."""

import base64
from collections.abc import Callable, Mapping
from urllib.parse import quote_from_bytes

from proxyd.auth.values import long_enough, value_of
from proxyd.core.headers import Headers
from proxyd.core.service import Auth

Build = Callable[[Mapping[str, bytes]], list[tuple[bytes, bytes]]]


class FieldInjector:
    """Puts computed fields in place of the client's own."""

    query_names: tuple[bytes, ...] = ()
    signs = False

    def __init__(self, fields: frozenset[bytes], secret_names: tuple[str, ...], build: Build) -> None:
        self.fields = fields
        self.secret_names = secret_names
        self._build = build
        self._raw: list[bytes] | None = None
        self._built: list[tuple[bytes, bytes]] = []
        """Fields made of ``_raw``, until a secret changes."""

    def apply(self, headers: Headers, path: bytes, values: Mapping[str, bytes]) -> tuple[Headers, bytes]:
        """Return the headers with the credential; KeyError names a missing secret."""
        fields = self.fields
        raw = [values[name] for name in self.secret_names]
        if raw != self._raw:
            self._built = self._build(values)
            self._raw = raw
        kept = [item for item in headers if item[0] not in fields]
        kept += self._built
        return kept, path

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether one of the fields is there already."""
        return any(name in self.fields for name, _ in headers)

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Return each secret as it is, percent-encoded, and as it stands in its field."""
        raw = [value_of(name, values) for name in self.secret_names]
        encoded = [quote_from_bytes(item, safe="").encode("ascii") for item in raw]
        sent = [value.partition(b" ")[2] if b" " in value else value for _, value in self._build(values)]
        return long_enough(*raw, *encoded, *sent)


def bearer(auth: Auth) -> FieldInjector:
    """``Authorization: Bearer VALUE``."""
    name = auth.parts[0].secret

    def build(values: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
        return [(b"authorization", b"Bearer " + value_of(name, values))]

    return FieldInjector(frozenset({b"authorization"}), (name,), build)


def basic(auth: Auth) -> FieldInjector:
    """``Authorization: Basic BASE64(USER:VALUE)``; the user is given in clear or is a secret too."""
    name = auth.parts[0].secret
    user_secret = auth.user_secret
    user = auth.user.encode("utf-8")
    word = auth.parts[0].prefix.encode("ascii") or b"Basic "

    def build(values: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
        who = value_of(user_secret, values) if user_secret else user
        if b":" in who:  # RFC 7617 §2: the rest would be read as the password's beginning
            raise ValueError(f"the user name in {user_secret or 'user'} holds a colon, which Basic cannot carry")
        pair = base64.b64encode(who + b":" + value_of(name, values))
        return [(b"authorization", word + pair)]

    names = (user_secret, name) if user_secret else (name,)
    return FieldInjector(frozenset({b"authorization"}), names, build)


def header(auth: Auth) -> FieldInjector:
    """One field or more, each with its literal prefix."""
    parts = [(part.name.lower().encode("ascii"), part.prefix.encode("utf-8"), part.secret) for part in auth.parts]

    def build(values: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
        return [(field, prefix + value_of(secret, values)) for field, prefix, secret in parts]

    return FieldInjector(frozenset(part[0] for part in parts), tuple(part[2] for part in parts), build)
