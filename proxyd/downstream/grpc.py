"""What proxyd itself says to a gRPC client: a status of gRPC's in a trailers-only response, never JSON.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and http-grpc-status-mapping.md beside it.
"""

from typing import Final

from proxyd.core.headers import Headers

UNKNOWN: Final = 2
_STATUSES: Final = {
    400: 13,  # INTERNAL
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    404: 12,  # UNIMPLEMENTED
    429: 14,  # UNAVAILABLE
    502: 14,
    503: 14,
    504: 4,  # DEADLINE_EXCEEDED
}
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - frozenset(b"%")


def fields(status: int, detail: str) -> Headers:
    """Return the fields of a response in place of one with an HTTP ``status``; its own status is 200."""
    return [
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"%d" % _STATUSES.get(status, UNKNOWN)),
        (b"grpc-message", message(detail)),
    ]


def message(text: str) -> bytes:
    """Percent-encode a grpc-message: everything but printable ASCII, and the percent sign itself."""
    return b"".join(b"%c" % byte if byte in _PLAIN else b"%%%02X" % byte for byte in text.encode("utf-8"))
