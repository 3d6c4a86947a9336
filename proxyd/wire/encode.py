"""Nouns to HTTP/1.1 bytes: heads, chunks, trailers, and the replies that proxyd makes itself."""

import json
from http import HTTPStatus
from typing import Final

from proxyd.core.headers import Headers

_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_STATUS_LINES: Final = {code: b"HTTP/1.1 %d %s\r\n" % (code, reason) for code, reason in _REASONS.items()}

LAST_CHUNK: Final = b"0\r\n\r\n"


def request_head(method: bytes, target: bytes, host: bytes, headers: Headers, extra: bytes) -> bytes:
    """Serialise a request head. ``extra`` is field lines of this hop (framing, Connection), each ending in CRLF."""
    parts = [method, b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n"]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts += (extra, b"\r\n")
    return b"".join(parts)


def response_head(status: int, reason: bytes, headers: Headers, extra: bytes) -> bytes:
    """Serialise a response head; ``extra`` as in request_head."""
    line = _STATUS_LINES.get(status)
    if line is None or (reason and reason != _REASONS[status]):
        line = b"HTTP/1.1 %d %s\r\n" % (status, reason)
    parts = [line]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts += (extra, b"\r\n")
    return b"".join(parts)


def field_lines(headers: Headers) -> bytes:
    """Serialise fields, each with its CRLF."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def response_head_of(status: int, lines: bytes, extra: bytes) -> bytes:
    """As response_head, of what ``field_lines`` returned."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"".join((line, lines, extra, b"\r\n"))


def chunk(piece: bytes) -> bytes:
    """Return one chunk (RFC 9112 §7.1); ``piece`` is not empty."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def last_chunk(trailers: Headers) -> bytes:
    """Return the last chunk with its trailer section."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in trailers) + b"\r\n"


def problem(status: int, detail: str, error: str, request_id: str) -> bytes:
    """Return a problem+json document (RFC 9457)."""
    title = _REASONS.get(status, b"Error").decode("ascii")
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    document |= {"error": error, "request_id": request_id}
    return json.dumps(document).encode("utf-8") + b"\n"


def proxy_status(pseudonym: str, error: str, detail: str) -> bytes:
    """Return a Proxy-Status member (RFC 9209 §2): ``error`` is a registered error type."""
    words = "".join(
        character if " " <= character <= "~" and character not in '"\\' else "'"
        for character in detail.replace("§", "section ")
    )
    return f'{pseudonym}; error={error}; details="{words}"'.encode("ascii")


def proxy_status_of_attempt(pseudonym: str, endpoint: str, outcome: str) -> bytes:
    """Return the member for an attempt that was not the last: ``outcome`` is a status or an error type."""
    if outcome == "hedged":
        parameter = 'details="another attempt was faster"'
    else:
        parameter = f"received-status={outcome}" if outcome.isdigit() else f"error={outcome}"
    return f'{pseudonym}; next-hop="{endpoint}"; {parameter}'.encode("ascii", "replace")
