"""Heads and trailers to the field lists of HTTP/2 (RFC 9113 §8): what is sent, and what of it is never indexed.

The way in is ``http2_head``. Fields that belong to one hop of HTTP/1.1 (RFC 9110 §7.6.1) stay behind.
"""

from collections.abc import Collection
from typing import Final

from proxyd.core.headers import Headers
from proxyd.wire.hpack import Never

Fields = list[tuple[bytes, bytes, bool]]
"""Fields to be sent: name, value, and whether no hop may put them into a compression table (RFC 7541 §7.1.3)."""

SENSITIVE: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"proxyd-token", b"x-api-key", b"api-key"}
)
"""Fields that are secret whatever they hold; others are where they hold a secret that is known, or came as secret."""

_STATUSES: Final = {code: b"%d" % code for code in range(100, 600)}

_NOT_SENT: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"host", b"content-length"}
)


def request_fields(
    method: bytes,
    scheme: bytes,
    authority: bytes,
    path: bytes,
    headers: Headers,
    *,
    length: int | None = None,
    via: bytes = b"",
    secrets: Collection[bytes] = (),
) -> Fields:
    """Return a request's head: pseudo-header fields, then ``headers`` less what belongs to a hop of HTTP/1.1.

    ``length`` becomes content-length, ``via`` a field of its own. What holds one of ``secrets`` is never indexed.
    """
    fields: Fields = [
        (b":method", method, False),
        (b":scheme", scheme, False),
        (b":authority", authority, False),
        (b":path", path, bool(secrets) and _holds(path, secrets)),
    ]
    for field in headers:
        name, value = field
        if name in _NOT_SENT:
            continue
        if name not in SENSITIVE:
            fields.append((name, value, type(field) is Never or (bool(secrets) and _holds(value, secrets))))
        elif name == b"cookie" and b"; " in value:
            fields += [(name, crumb, True) for crumb in _crumbs(value)]
        else:
            fields.append((name, value, True))
    if length is not None:
        fields.append((b"content-length", b"%d" % length, False))
    if via:
        fields.append((b"via", via, False))
    return fields


def response_fields(status: int, headers: Headers, *, length: int | None = None, via: bytes = b"") -> Fields:
    """Return a response's head; as ``request_fields``. What ``headers`` say of content-length stays unless ``length``
    says it: it is what GET would have had.
    """
    fields: Fields = [(b":status", _STATUSES.get(status) or b"%d" % status, False)]
    for field in headers:
        name, value = field
        if name not in _NOT_SENT or (name == b"content-length" and length is None):
            fields.append((name, value, name in SENSITIVE or type(field) is Never))
    if length is not None:
        fields.append((b"content-length", b"%d" % length, False))
    if via:
        fields.append((b"via", via, False))
    return fields


def trailer_fields(headers: Headers) -> Fields:
    """Return trailers to be sent."""
    return [(*field, field[0] in SENSITIVE or type(field) is Never) for field in headers if field[0] not in _NOT_SENT]


def _crumbs(value: bytes) -> list[bytes]:
    """What a cookie may be split into (§8.2.3): all of it where a crumb would be no field's value."""
    crumbs = value.split(b"; ")
    return crumbs if all(crumb and crumb == crumb.strip(b" \t") for crumb in crumbs) else [value]


def _holds(value: bytes, secrets: Collection[bytes]) -> bool:
    for secret in secrets:  # noqa: SIM110 - a generator costs more than the search
        if secret in value:
            return True
    return False
