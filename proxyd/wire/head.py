"""HTTP/1.1 heads: bytes to fields, once, strictly, with the framing decided on the way (RFC 9112).

httptools tokenises the field lines; everything that it leaves open is decided here: the start line, limits, which
fields end at this hop, and how long the body is. What is ambiguous is refused, never repaired, with one exception
that RFC 9110 §8.6 grants: equal repeated Content-Length fields of a response are collapsed.
"""

import enum
import re
from typing import Final

import httptools

from proxyd.core.errors import ProxyError, bad_request, bad_response
from proxyd.core.headers import Headers, tokens

END: Final = b"\r\n\r\n"

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TCHAR: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_VERSIONS: Final = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}
_STATUS_VERSIONS: Final = {b"HTTP/1.1 ": 11, b"HTTP/1.0 ": 10}
_CODES: Final = {b"%d" % code: code for code in range(100, 600)}
_USUAL_REASONS: Final = frozenset({b"OK", b"Created", b"No Content", b"Not Modified", b"Not Found"})
_OTHER_VERSION: Final = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/[0-9.]+\r\n").match
_ILLEGAL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n").search
_LENGTH: Final = re.compile(rb"[0-9]{1,18}").fullmatch
_NOT_A_HEAD: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z\r]").match

MAX_METHOD_BYTES: Final = 32
"""Longest method; the longest registered one is UPDATEREDIRECTREF with 17."""

MAX_EMPTY_LINES: Final = 2
"""CRLFs accepted before a request line (RFC 9112 §2.2 asks for at least one)."""


class Framing(enum.Enum):
    """Where a body ends (RFC 9112 §6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


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


class ResponseHead:
    """One response head. ``headers`` hold what goes on; ``keep_alive`` is the upstream connection's."""

    __slots__ = ("framing", "headers", "keep_alive", "length", "reason", "status", "upgrade", "version")

    def __init__(self, status: int, reason: bytes, version: int) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.headers: Headers = []
        self.framing = Framing.CLOSE
        self.length: int | None = None
        self.keep_alive = version == 11
        self.upgrade: bytes | None = None


class _Fields:
    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value))


_PREFIX: Final = b"GET / HTTP/1.1\r\n"


def _tokenise(lines: bytes) -> Headers:
    """Split field lines that end with the empty line; ValueError in words on any deviation."""
    sink = _Fields()
    try:
        httptools.HttpRequestParser(sink).feed_data(_PREFIX + lines)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise ValueError(str(error)) from None
    return sink.found


# What happens to a request field at this hop. Fields that are not here go on.
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
_RESPONSE_FIELDS: Final = {
    b"connection": _CONNECTION,
    b"content-length": _LENGTH_FIELD,
    b"transfer-encoding": _CODING,
    b"upgrade": _UPGRADE,
    b"keep-alive": _END_HERE,
    b"proxy-connection": _END_HERE,
    b"proxy-authenticate": _END_HERE,
    b"te": _END_HERE,
}
_SPACE: Final = (b" ", b"\t")
_NEVER_NOMINATED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie"})
_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})


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
    if _ILLEGAL(data, max(0, start - 1), size - data.endswith(b"\r")):
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
        fields = _tokenise(raw[line_end + 2 :])
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
    if _ILLEGAL(raw):
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
            keep.append(field if not field[1].endswith(_SPACE) else (field[0], field[1].rstrip(b" \t")))
            continue
        value = field[1].strip(b" \t")
        if kind == _HOST:
            if head.host is not None:
                raise bad_request("Host is there twice (RFC 9112 §3.2)")
            head.host = value
        elif kind == _LENGTH_FIELD:
            if length is not None or not _LENGTH(value):
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
    nominated = options - _OPTIONS
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
        if any(name != b"chunked" for name in names) and all(re.fullmatch(_TOKEN, name) for name in names):
            return bad_request("chunked is the only transfer coding spoken here", 501)
    return bad_request(f"the head is malformed: {words}")


def parse_response(raw: bytes, method: bytes, *, limit: int, max_fields: int) -> ResponseHead:
    """Parse a complete response head to a request of ``method``. ProxyError 502 says what is wrong."""
    if len(raw) > limit:
        raise bad_response(f"the response head is longer than {limit} bytes", "http_response_header_section_size")
    line_end = raw.find(b"\r\n")
    version = _STATUS_VERSIONS.get(raw[:9])
    status = _CODES.get(raw[9:12])
    reason = raw[13:line_end]
    if (
        version is None
        or status is None
        or line_end < 12
        or (line_end > 12 and raw[12:13] != b" ")
        or (reason not in _USUAL_REASONS and reason.translate(None, _TEXT))
    ):
        raise bad_response("the status line is malformed")
    lines = raw[line_end + 2 :]
    try:
        fields = _tokenise(lines)
    except ValueError as error:
        collapsed = _collapse_lengths(lines)
        if collapsed is None:
            raise bad_response(f"the response head is malformed: {error}") from None
        fields = collapsed
    if len(fields) > max_fields:
        raise bad_response(f"the response head has more than {max_fields} fields", "http_response_header_section_size")
    head = ResponseHead(status, reason, version)
    _sort_response(head, fields, method)
    return head


def _collapse_lengths(lines: bytes) -> Headers | None:
    """Return the fields with equal repeated Content-Length collapsed (RFC 9110 §8.6), None where it is no such case."""
    values: list[bytes] = []
    kept: list[bytes] = []
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name.lower() == b"content-length":
            values.extend(part.strip(b" \t") for part in value.split(b","))
        else:
            kept.append(line)
    if len(values) < 2 or len(set(values)) != 1 or not _LENGTH(values[0]):
        return None
    try:
        return _tokenise(b"content-length: " + values[0] + b"\r\n" + b"\r\n".join(kept))
    except ValueError:
        return None


def _sort_response(head: ResponseHead, fields: Headers, method: bytes) -> None:
    length: bytes | None = None
    codings: list[bytes] | None = None
    connection: list[bytes] | None = None
    upgrade: bytes | None = None
    keep = head.headers
    for field in fields:
        kind = _RESPONSE_FIELDS.get(field[0])
        if kind is None:
            keep.append(field if not field[1].endswith(_SPACE) else (field[0], field[1].rstrip(b" \t")))
            continue
        value = field[1].strip(b" \t")
        if kind == _LENGTH_FIELD:
            if length is not None or not _LENGTH(value):
                raise bad_response("Content-Length is repeated or not a number")
            length = value
        elif kind == _CODING:
            codings = [*(codings or ()), value]
        elif kind == _CONNECTION:
            connection = [*(connection or ()), value]
        elif kind == _UPGRADE:
            upgrade = value
    if connection is not None:
        _response_connection(head, connection)
    head.upgrade = upgrade.lower() if upgrade is not None else None
    _response_framing(head, method, length, codings)


def _response_connection(head: ResponseHead, connection: list[bytes]) -> None:
    if connection == [b"keep-alive"]:
        head.keep_alive = True
        return
    options = frozenset(tokens(connection))
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    nominated = options - _OPTIONS
    if nominated:
        head.headers = [item for item in head.headers if item[0] not in nominated]


def _response_framing(head: ResponseHead, method: bytes, length: bytes | None, codings: list[bytes] | None) -> None:
    """RFC 9112 §6.3, in its order."""
    status = head.status
    if codings is None:
        if length is not None and status >= 200 and status not in _BODILESS and method != b"HEAD":
            head.framing = Framing.LENGTH
            head.length = int(length)
            return
    else:
        if head.version == 10:
            raise bad_response("Transfer-Encoding in an HTTP/1.0 response (RFC 9112 §6.1)")
        if length is not None:
            raise bad_response("Content-Length and Transfer-Encoding together (RFC 9112 §6.3)")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise bad_response("a transfer coding other than chunked", "http_response_transfer_coding")
    if method == b"HEAD" or status in _BODILESS or status < 200:
        head.framing = Framing.NONE
        head.length = 0
        if length is not None and status != 204 and status >= 200:
            head.headers.append((b"content-length", length))  # says what GET would have had (RFC 9110 §8.6)
    elif codings is not None:
        head.framing = Framing.CHUNKED
    else:
        head.framing = Framing.CLOSE
        head.keep_alive = False


_BODILESS: Final = frozenset({204, 304})
_FORBIDDEN_TRAILERS: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
_DROPPED_TRAILERS: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"connection", b"te", b"trailer", b"upgrade", b"set-cookie", b"via"}
)


def parse_trailers(lines: bytes, max_fields: int) -> Headers:
    """Parse trailer field lines that end with the empty line; ValueError in words (RFC 9110 §6.5.1)."""
    if _ILLEGAL(lines):
        raise ValueError("a trailer has a control character or a line that does not end in CRLF")
    if any(line.partition(b":")[0].lower() in _FORBIDDEN_TRAILERS for line in lines.split(b"\r\n")):
        raise ValueError("a trailer field that decides framing or routing")
    fields = _tokenise(lines)
    if len(fields) > max_fields:
        raise ValueError(f"more than {max_fields} trailer fields")
    return [(name, value.strip(b" \t")) for name, value in fields if name not in _DROPPED_TRAILERS]
