"""What tests of schemes that sign share."""

from typing import Any

from proxyd.core.authority import Authority
from proxyd.core.exchange import Outgoing
from proxyd.core.headers import Headers
from proxyd.core.message import BytesBody, Request

MOMENT = 1440938160.0
"""2015-08-30T12:36:00Z."""


def outgoing(
    method: bytes,
    host: bytes,
    path: bytes,
    headers: Headers | tuple[()] = (),
    body: bytes | None = b"",
    scheme: bytes = b"https",
    **changes: Any,
) -> Outgoing:
    made = Outgoing(method, scheme, host, list(headers), path, body, len(body or b""), MOMENT)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def request(
    method: bytes = b"GET",
    host: str = "api.example",
    path: bytes = b"/",
    headers: Headers | tuple[()] = (),
    body: bytes = b"",
    scheme: bytes = b"https",
) -> Request:
    return Request(method, scheme, Authority(host, 443, False), path, list(headers), BytesBody(body))


def field(made: Outgoing, name: bytes) -> bytes:
    """The only value of a field; empty where there is none."""
    found = [value for key, value in made.headers if key == name]
    assert len(found) <= 1, f"{name!r} is sent {len(found)} times"
    return found[0] if found else b""
