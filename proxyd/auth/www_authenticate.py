"""WWW-Authenticate (RFC 9110 §11.6.1): what a challenge for a bearer token says, as registries use it.

https://distribution.github.io/distribution/spec/auth/token/
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_FIELD: Final = 4096
"""Bytes of a field that are looked at."""

MAX_TEXT: Final = 1024
"""Of one parameter."""

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME: Final = re.compile(rb"[ \t,]*(" + _TOKEN + rb")(?=[ \t,]|$)")
_PARAMETER: Final = re.compile(
    rb"[ \t,]*(" + _TOKEN + rb')[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|(' + _TOKEN + rb"))(?=[ \t]*(?:,|$))"
)
_ESCAPED: Final = re.compile(rb"\\(.)")


class Challenge(NamedTuple):
    """For a bearer token."""

    realm: str
    """Where tokens are given out."""
    service: str
    scope: str
    """One or several, spaces between; may be empty."""


def bearer_challenge(values: Iterable[bytes]) -> Challenge | None:
    """Return the first challenge for a bearer token with a realm; None: there is none that can be read."""
    for value in values:
        found = _in_field(value)
        if found is not None:
            return found
    return None


def _in_field(value: bytes) -> Challenge | None:
    if len(value) > MAX_FIELD:
        return None
    at = 0
    scheme = b""
    parameters: dict[bytes, str] = {}
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if match is not None:
            parameters.setdefault(match[1].lower(), _text(match[2] if match[2] is not None else match[3]))
        else:
            if scheme == b"bearer" and parameters.get(b"realm"):
                break
            match = _SCHEME.match(value, at)
            if match is None:
                return None
            scheme, parameters = match[1].lower(), {}
        at = match.end()
    realm, service, scope = (parameters.get(name, "") for name in (b"realm", b"service", b"scope"))
    if scheme != b"bearer" or not realm or max(len(realm), len(service), len(scope)) > MAX_TEXT:
        return None
    return Challenge(realm, service, scope)


def _text(raw: bytes) -> str:
    text = _ESCAPED.sub(rb"\1", raw).decode("utf-8", "replace")
    return text if text.isprintable() else ""
