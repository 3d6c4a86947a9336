"""What request and response heads have in common: field lines, and where a body ends (RFC 9112 §5 and §6).

httptools tokenises the field lines; everything that it leaves open is decided by those who read a head
(wire.request_head, wire.response_head). What is ambiguous is refused, never repaired.
"""

import enum
import re
from typing import Final

import httptools

from proxyd.core.headers import Headers

END: Final = b"\r\n\r\n"

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""RFC 9110 §5.6.2."""
find_illegal: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n").search
"""Finds a control character, or a CR or LF that stands alone."""
is_length: Final = re.compile(rb"[0-9]{1,18}").fullmatch
"""Whether this can be Content-Length (RFC 9110 §8.6)."""
SPACE: Final = (b" ", b"\t")
OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})
"""What Connection may say beside the names of fields."""


class Framing(enum.Enum):
    """Where a body ends (RFC 9112 §6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class _Fields:
    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value))


_PREFIX: Final = b"GET / HTTP/1.1\r\n"


def tokenise(lines: bytes) -> Headers:
    """Split field lines that end with the empty line; ValueError in words on any deviation."""
    sink = _Fields()
    try:
        httptools.HttpRequestParser(sink).feed_data(_PREFIX + lines)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise ValueError(str(error)) from None
    return sink.found


FORBIDDEN_TRAILERS: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
DROPPED_TRAILERS: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"connection", b"te", b"trailer", b"upgrade", b"set-cookie", b"via"}
)


def parse_trailers(lines: bytes, max_fields: int) -> Headers:
    """Parse trailer field lines that end with the empty line; ValueError in words (RFC 9110 §6.5.1)."""
    if find_illegal(lines):
        raise ValueError("a trailer has a control character or a line that does not end in CRLF")
    if any(line.partition(b":")[0].lower() in FORBIDDEN_TRAILERS for line in lines.split(b"\r\n")):
        raise ValueError("a trailer field that decides framing or routing")
    fields = tokenise(lines)
    if len(fields) > max_fields:
        raise ValueError(f"more than {max_fields} trailer fields")
    return [(name, value.strip(b" \t")) for name, value in fields if name not in DROPPED_TRAILERS]
