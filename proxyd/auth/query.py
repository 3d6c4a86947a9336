"""Credentials in query parameters: the client's own of the same name go, everything else stays byte for byte."""

from collections.abc import Mapping
from urllib.parse import quote_from_bytes, unquote_to_bytes

from proxyd.auth.values import long_enough
from proxyd.core.headers import Headers
from proxyd.core.service import Auth


class QueryInjector:
    """Appends parameters to the query."""

    fields: frozenset[bytes] = frozenset()
    signs = False

    def __init__(self, auth: Auth) -> None:
        self._parts = [(part.name.encode("utf-8"), part.prefix.encode("utf-8"), part.secret) for part in auth.parts]
        self.secret_names = tuple(part[2] for part in self._parts)
        self.query_names: tuple[bytes, ...] = tuple(part[0] for part in self._parts)

    def apply(self, headers: Headers, path: bytes, values: Mapping[str, bytes]) -> tuple[Headers, bytes]:
        """Return the path with the credential; KeyError names a missing secret."""
        bare, _, query = path.partition(b"?")
        kept = [item for item in query.split(b"&") if _name(item) not in self.query_names] if query else []
        for name, prefix, secret in self._parts:
            kept.append(_encode(name) + b"=" + _encode(prefix + values[secret]))
        return headers, bare + b"?" + b"&".join(kept)

    def client_supplied(self, headers: Headers, path: bytes) -> bool:
        """Whether one of the parameters is there already."""
        return any(_name(item) in self.query_names for item in path.partition(b"?")[2].split(b"&"))

    def masks(self, values: Mapping[str, bytes]) -> tuple[bytes, ...]:
        """Return each secret as it is and as it stands in the query."""
        raw = [values[name] for name in self.secret_names]
        return long_enough(*raw, *(_encode(item) for item in raw))


def _name(parameter: bytes) -> bytes:
    """Return a parameter's name as a server decodes it."""
    return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" "))


def _encode(value: bytes) -> bytes:
    return quote_from_bytes(value, safe="").encode("ascii")
