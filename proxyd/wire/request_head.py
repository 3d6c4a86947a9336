"""HTTP/1.1 request heads: bytes to fields, once, strictly, with the framing decided on the way (RFC 9112).

Decided here, around the tokeniser: the start line, limits, which fields end at this hop, and how long the body is.
"""

import re
from typing import Final

from proxyd.core.errors import ProxyError, bad_request
from proxyd.core.headers import Headers, tokens
from proxyd.wire.fields import OPTIONS, SPACE, TOKEN, Framing, find_illegal, is_length, tokenise

_TCHAR: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_VERSIONS: Final = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}
_OTHER_VERSION: Final = re.compile(TOKEN + rb" [\x21-\x7e]+ HTTP/[0-9.]+\r\n").match
_NOT_A_HEAD: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z\r]").match

MAX_METHOD_BYTES: Final = 32
"""Longest method; the longest registered one is UPDATEREDIRECTREF with 17."""

MAX_EMPTY_LINES: Final = 2
"""CRLFs accepted before a request line (RFC 9112 §2.2 asks for at least one)."""


class RequestHead:
    """One request head. ``headers`` hold what goes on to the next hop; Content-Length is in ``length``."""

    __slots__ = (
        "expects_continue",
        "framing",
        "headers",
        "host",
        "keep_alive",
        "length",
        "method",
        "nominated",
        "proxy_authorization",
        "target",
        "upgrade",
        "version",
        "via",
    )

    def __init__(self, method: bytes, target: bytes, version: int) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers: Headers = []
        self.host: bytes | None = None
        self.framing = Framing.NONE
        self.length: int | None = 0
        self.keep_alive = version == 11
        self.upgrade: bytes | None = None
        self.expects_continue = False
        self.proxy_authorization: bytes | None = None
        self.nominated: frozenset[bytes] | None = None
        """Field names that Connection named; they ended here."""
        self.via: list[bytes] | None = None


# What happens to a field at this hop. Fields that are not here go on.
_END_HERE, _CONNECTION, _HOST, _LENGTH_FIELD, _CODING, _TE, _UPGRADE, _PROXY_AUTH, _EXPECT, _VIA = range(10)
_REQUEST_FIELDS: Final = {
    b"connection": _CONNECTION,
    b"host": _HOST,
    b"content-length": _LENGTH_FIELD,
    b"transfer-encoding": _CODING,
    b"te": _TE,
    b"upgrade": _UPGRADE,
    b"proxy-authorization": _PROXY_AUTH,
    b"expect": _EXPECT,
    b"via": _VIA,
    b"keep-alive": _END_HERE,
    b"proxy-connection": _END_HERE,
    b"proxy-authenticate": _END_HERE,
    b"http2-settings": _END_HERE,
}
_NEVER_NOMINATED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie"})


def incomplete(data: bytes | bytearray, limit: int, uri_limit: int, start: int = 0) -> None:
    """Judge what has come of a request head that lacks its end: refuse what can no longer become one.

    Bytes before ``start`` were judged before: a head that drips in costs no more than one that comes whole.
    """
    size = len(data)
    if size > limit:
        raise bad_request(f"the head is longer than {limit} bytes", 431)
    line_limit = uri_limit + MAX_METHOD_BYTES + 16
    if size > line_limit >= start and data.find(b"\r\n", 0, line_limit) < 0:
        raise bad_request(f"the request target is longer than {uri_limit} bytes", 414)
    if start == 0 and _NOT_A_HEAD(data):
        raise bad_request("these bytes are not an HTTP/1 request")
    if find_illegal(data, max(0, start - 1), size - data.endswith(b"\r")):
        raise bad_request("the head has a control character, or a line that does not end in CRLF")


def skip_empty_lines(data: bytes, most: int = MAX_EMPTY_LINES) -> bytes:
    """Drop up to ``most`` CRLFs before a request line (RFC 9112 §2.2)."""
    for _ in range(most):
        if not data.startswith(b"\r\n"):
            break
        data = data[2:]
    return data


def parse_request(raw: bytes, *, limit: int, uri_limit: int, max_fields: int) -> RequestHead:
    """Parse a complete request head (CRLFCRLF included). ProxyError 400, 414, 431, 501 or 505 says what is wrong."""
    if len(raw) > limit:
        raise bad_request(f"the head is longer than {limit} bytes", 431)
    line_end = raw.find(b"\r\n")
    parts = raw[:line_end].split(b" ")
    if len(parts) != 3:
        raise _bad_request_line(raw)
    method, target, protocol = parts
    version = _VERSIONS.get(protocol)
    if (
        version is None
        or not method
        or not target
        or target.translate(None, _VISIBLE)
        or method.translate(None, _TCHAR)
    ):
        raise _bad_request_line(raw)
    if len(target) > uri_limit:
        raise bad_request(f"the request target is longer than {uri_limit} bytes", 414)
    if len(method) > MAX_METHOD_BYTES:
        raise bad_request(f"the method is longer than {MAX_METHOD_BYTES} bytes", 501)
    try:
        fields = tokenise(raw[line_end + 2 :])
    except ValueError as error:
        raise _diagnose(raw, str(error)) from None
    if len(fields) > max_fields:
        raise bad_request(f"the head has more than {max_fields} fields", 431)
    head = RequestHead(method, target, version)
    _sort_request(head, fields)
    if head.host is None and version == 11:
        raise bad_request("Host is missing (RFC 9112 §3.2)")
    return head


def _bad_request_line(raw: bytes) -> ProxyError:
    if _OTHER_VERSION(raw):
        return bad_request("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if find_illegal(raw):
        return bad_request("the head has a control character, or a line that does not end in CRLF")
    return bad_request("the request line is malformed")


def _sort_request(head: RequestHead, fields: Headers) -> None:
    length: bytes | None = None
    codings: list[bytes] | None = None
    connection: list[bytes] | None = None
    upgrade: list[bytes] = []
    trailers = False
    keep = head.headers
    for field in fields:
        kind = _REQUEST_FIELDS.get(field[0])
        if kind is None:
            keep.append(field if not field[1].endswith(SPACE) else (field[0], field[1].rstrip(b" \t")))
            continue
        value = field[1].strip(b" \t")
        if kind == _HOST:
            if head.host is not None:
                raise bad_request("Host is there twice (RFC 9112 §3.2)")
            head.host = value
        elif kind == _LENGTH_FIELD:
            if length is not None or not is_length(value):
                raise bad_request("Content-Length is repeated or not a number (RFC 9112 §6.3)")
            length = value
        elif kind == _CODING:
            codings = [*(codings or ()), value]
        elif kind == _CONNECTION:
            connection = [*(connection or ()), value]
        elif kind == _TE:
            trailers = b"trailers" in tokens([value])
        elif kind == _UPGRADE:
            upgrade.append(value)
        elif kind == _PROXY_AUTH:
            if head.proxy_authorization is not None:
                raise bad_request("Proxy-Authorization is there twice")
            head.proxy_authorization = value
        elif kind == _EXPECT:
            if value.lower() != b"100-continue":
                raise bad_request("only 100-continue can be expected", 417)
            head.expects_continue = head.version == 11
            if head.version == 11:  # RFC 9110 §10.1.1: ignored from HTTP/1.0
                keep.append((b"expect", b"100-continue"))
        elif kind == _VIA:
            head.via = [*(head.via or ()), value]
            keep.append((field[0], value))
    if codings is not None:
        _request_coding(head, codings, length)
    elif length is not None:
        head.framing = Framing.LENGTH
        head.length = int(length)
    if connection is not None:
        _request_connection(head, connection, upgrade)
    if trailers:
        keep.append((b"te", b"trailers"))
        keep.append((b"connection", b"te"))


def _request_coding(head: RequestHead, codings: list[bytes], length: bytes | None) -> None:
    """RFC 9112 §6.1 and §6.3: chunked alone, on HTTP/1.1, without Content-Length."""
    if length is not None:
        raise bad_request("Content-Length and Transfer-Encoding exclude each other (RFC 9112 §6.3)")
    if head.version == 10:
        raise bad_request("Transfer-Encoding is not part of HTTP/1.0 (RFC 9112 §6.1)")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        unknown = [coding for coding in tokens(codings) if coding != b"chunked"]
        raise bad_request("chunked is the only transfer coding spoken here", 501 if unknown else 400)
    head.framing = Framing.CHUNKED
    head.length = None


def _request_connection(head: RequestHead, connection: list[bytes], upgrade: list[bytes]) -> None:
    """RFC 9110 §7.6.1: options, and the fields that Connection names, which end here."""
    options = frozenset(tokens(connection))
    if b"close" in options:
        head.keep_alive = False
    elif head.version == 10 and b"keep-alive" in options:
        head.keep_alive = True
    nominated = options - OPTIONS
    if nominated:
        if nominated & _NEVER_NOMINATED:
            raise bad_request("Connection names a field that must not be removed (RFC 9110 §7.6.1)")
        head.nominated = nominated
        head.headers = [field for field in head.headers if field[0] not in nominated]
    if b"upgrade" in options and head.version == 11 and head.length == 0 and b"websocket" in tokens(upgrade):
        head.upgrade = b"websocket"  # with a body it is ignored (RFC 9110 §7.8 lets a server): two framings in one


def _diagnose(raw: bytes, words: str) -> ProxyError:
    """Choose the status for a head that the tokeniser refused: 501 for codings we do not speak, else 400."""
    folded = raw.lower()
    codings = [line.partition(b":")[2] for line in folded.split(b"\r\n") if line.startswith(b"transfer-encoding:")]
    if codings and b"\r\ncontent-length:" not in folded:
        names = list(tokens(codings))
        if any(name != b"chunked" for name in names) and all(re.fullmatch(TOKEN, name) for name in names):
            return bad_request("chunked is the only transfer coding spoken here", 501)
    return bad_request(f"the head is malformed: {words}")
