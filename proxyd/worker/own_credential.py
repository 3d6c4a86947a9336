"""Whether a client sends a credential of its own, told by names: never by a value."""

import re
from typing import Final

from proxyd.core.message import Request

_AUTHORIZATION: Final = b"authorization"
_LIKE_A_CREDENTIAL: Final = re.compile(
    rb"(?:.*[-_])?(?:api[-_]?key|app[-_]?key|auth[-_]?key|access[-_]?key|token|secret|password|api[-_]?token|auth)"
).fullmatch
_NO_CREDENTIAL: Final = frozenset({b"x-csrf-token", b"x-xsrf-token", b"csrf-token", b"x-amz-security-token"})
_SCHEMES: Final = {
    scheme.lower(): scheme.decode("ascii")
    for scheme in (b"AWS4-HMAC-SHA256", b"Basic", b"Bearer", b"Digest", b"EG1-HMAC-SHA256", b"Negotiate", b"Token")
}


def own_credential(request: Request) -> str | None:
    """Return the field and, of Authorization, the scheme where it is a known one; None: there is no such field."""
    for name, value in request.headers:
        if name == _AUTHORIZATION:
            scheme = _SCHEMES.get(value.partition(b" ")[0].lower())
            return f"authorization: {scheme}" if scheme is not None else "authorization"
    for name, _ in request.headers:
        if len(name) <= 64 and name not in _NO_CREDENTIAL and _LIKE_A_CREDENTIAL(name):
            return name.decode("ascii", "replace")
    return None
