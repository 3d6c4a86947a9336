"""HTTP/1.1 response heads: as strict as requests (wire.request_head), with one repair that RFC 9110 §8.6 grants: equal
repeated Content-Length fields are collapsed.
"""

from typing import Final

from proxyd.core.catalogue import ANNOUNCING, ENDS
from proxyd.core.errors import bad_response
from proxyd.core.headers import Headers, tokens
from proxyd.wire.fields import OPTIONS, SPACE, Framing, is_length, tokenise

_TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_VERSIONS: Final = {b"HTTP/1.1 ": 11, b"HTTP/1.0 ": 10}
_CODES: Final = {b"%d" % code: code for code in range(100, 600)}
_USUAL_REASONS: Final = frozenset({b"OK", b"Created", b"No Content", b"Not Modified", b"Not Found"})
_BODILESS: Final = frozenset({204, 304})


class ResponseHead:
    """One response head. ``headers`` hold what goes on; ``keep_alive`` is the upstream connection's."""

    __slots__ = ("announces", "framing", "headers", "keep_alive", "length", "reason", "status", "upgrade", "version")

    def __init__(self, status: int, reason: bytes, version: int) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.headers: Headers = []
        self.announces = False
        self.framing = Framing.CLOSE
        self.length: int | None = None
        self.keep_alive = version == 11
        self.upgrade: bytes | None = None


# What happens to a field at this hop. Fields that are not here go on.
_END_HERE, _CONNECTION, _LENGTH_FIELD, _CODING, _UPGRADE, _ANNOUNCES = range(6)
_RESPONSE_FIELDS: Final = {
    b"connection": _CONNECTION,
    b"content-length": _LENGTH_FIELD,
    b"transfer-encoding": _CODING,
    b"upgrade": _UPGRADE,
    b"keep-alive": _END_HERE,
    b"proxy-connection": _END_HERE,
    b"proxy-authenticate": _END_HERE,
    b"te": _END_HERE,
    **dict.fromkeys(
        (name.encode("ascii") for name in (*ANNOUNCING, ENDS)), _ANNOUNCES
    ),  # it goes on, and is looked at later
}


def parse_response(raw: bytes, method: bytes, *, limit: int, max_fields: int) -> ResponseHead:
    """Parse a complete response head to a request of ``method``. ProxyError 502 says what is wrong."""
    if len(raw) > limit:
        raise bad_response(f"the response head is longer than {limit} bytes", "http_response_header_section_size")
    line_end = raw.find(b"\r\n")
    version = _VERSIONS.get(raw[:9])
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
        fields = tokenise(lines)
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
    if len(values) < 2 or len(set(values)) != 1 or not is_length(values[0]):
        return None
    try:
        return tokenise(b"content-length: " + values[0] + b"\r\n" + b"\r\n".join(kept))
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
            keep.append(field if not field[1].endswith(SPACE) else (field[0], field[1].rstrip(b" \t")))
            continue
        value = field[1].strip(b" \t")
        if kind == _LENGTH_FIELD:
            if length is not None or not is_length(value):
                raise bad_response("Content-Length is repeated or not a number")
            length = value
        elif kind == _CODING:
            codings = [*(codings or ()), value]
        elif kind == _CONNECTION:
            connection = [*(connection or ()), value]
        elif kind == _UPGRADE:
            upgrade = value
        elif kind == _ANNOUNCES:
            head.announces = True
            keep.append((field[0], value))
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
    nominated = options - OPTIONS
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
