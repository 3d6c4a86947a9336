"""Header fields as a list of (name, value), names lower case since they were parsed.

A list and not a class: order and repetition are kept, and the hot path pays for nothing it does not use.
"""

from collections.abc import Collection, Iterator
from typing import Final

Headers = list[tuple[bytes, bytes]]

_AFTER_GRPC: Final = (b"", b"+", b";", b" ")
"""What ends the media type of gRPC, or precedes its message format."""


def first(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of the field ``name`` (lower case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def every(headers: Headers, name: bytes) -> list[bytes]:
    """Return all values of the field ``name`` (lower case), in order."""
    return [value for key, value in headers if key == name]


def without(headers: Headers, names: Collection[bytes]) -> Headers:
    """Return a copy that lacks every field named in ``names`` (lower case)."""
    return [field for field in headers if field[0] not in names]


def tokens(values: list[bytes]) -> Iterator[bytes]:
    """Yield the lower-cased members of comma-separated lists (RFC 9110 §5.6.1), empty ones left out."""
    for value in values:
        for member in value.split(b","):
            token = member.strip(b" \t").lower()
            if token:
                yield token


def is_grpc(headers: Headers) -> bool:
    """Whether the message is gRPC by its content-type; gRPC-Web, which is plain HTTP, is not."""
    value = first(headers, b"content-type")
    return value is not None and value.startswith(b"application/grpc") and value[16:17] in _AFTER_GRPC
