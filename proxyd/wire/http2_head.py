"""HTTP/2 messages: field lists to heads (RFC 9113 §8), for both sides of the bridge; the way out is ``http2_fields``.

A codec (wire.http2) brings fields as they were sent. Here each message is judged once, strictly: what is malformed by
§8.1.1 is refused as a stream error, for a downstream that repaired it could be led to see another message than ours.
What HTTP/1.1 says by field lines of one hop (RFC 9110 §7.6.1), HTTP/2 says by frames: no such field gets across.
"""

from typing import Final, NoReturn

from proxyd.core.authority import DEFAULT_PORTS, parse_authority
from proxyd.core.catalogue import ANNOUNCING, ENDS
from proxyd.core.errors import bad_request, bad_response
from proxyd.core.headers import Headers
from proxyd.wire.fields import DROPPED_TRAILERS, FORBIDDEN_TRAILERS, Framing, is_length
from proxyd.wire.request_head import MAX_METHOD_BYTES, RequestHead
from proxyd.wire.response_head import ResponseHead

VERSION: Final = 20

OVERHEAD: Final = 32
"""What a field counts beside its name and value (RFC 9113 §6.5.2)."""


class MalformedError(Exception):
    """A message that RFC 9113 §8.1.1 calls malformed: a stream error PROTOCOL_ERROR. The words hold no values."""


_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_METHOD: Final = _TOKEN + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_NAMES: Final = _TOKEN + b":"  # colons are counted
_LINES: Final = _TEXT + b"\n"  # newlines are counted
_SPACE: Final = (b" ", b"\t")

# What happens to a field. Those that are not here go on.
_METHOD_IS, _SCHEME, _AUTHORITY, _PATH, _STATUS = range(5)
_LAST_PSEUDO: Final = _STATUS
_HOST, _LENGTH, _COOKIE, _TE, _EXPECT, _VIA, _PROXY_AUTH, _END_HERE, _BARRED, _NAMELESS, _ANNOUNCES = range(5, 16)
_EITHER: Final = {
    b"": _NAMELESS,
    b"content-length": _LENGTH,
    b"te": _TE,
    b"connection": _BARRED,
    b"keep-alive": _BARRED,
    b"proxy-connection": _BARRED,
    b"transfer-encoding": _BARRED,
    b"upgrade": _BARRED,
    b"http2-settings": _END_HERE,
    b"proxy-authenticate": _END_HERE,
}
_REQUEST: Final = _EITHER | {
    b":method": _METHOD_IS,
    b":scheme": _SCHEME,
    b":authority": _AUTHORITY,
    b":path": _PATH,
    b"host": _HOST,
    b"cookie": _COOKIE,
    b"expect": _EXPECT,
    b"via": _VIA,
    b"proxy-authorization": _PROXY_AUTH,
}
_RESPONSE: Final = _EITHER | {
    b":status": _STATUS,
    **dict.fromkeys((name.encode("ascii") for name in (*ANNOUNCING, ENDS)), _ANNOUNCES),
}
_NEVER: Final = (_BARRED, _NAMELESS)
_CODES: Final = {b"%d" % code: code for code in range(100, 600)}
_BODILESS: Final = frozenset({204, 304})


def request_head(
    fields: Headers, *, ended: bool, scheme: bytes, limit: int, uri_limit: int, max_fields: int
) -> RequestHead:
    """Read a request's head on a connection that carries ``scheme``; ``ended``: no body follows.

    MalformedError is a stream error; ProxyError 400, 414, 417, 421, 431 or 501 wants an answer. ``target`` is :path, or
    CONNECT's authority; ``host`` is :authority, or Host where that is absent.
    """
    size = _check(fields)
    if size > limit:
        raise bad_request(f"the head is longer than {limit} bytes", 431)
    if len(fields) > max_fields:
        raise bad_request(f"the head has more than {max_fields} fields", 431)
    pseudo: list[bytes | None] = [None, None, None, None]
    head = RequestHead(b"", b"", VERSION)
    keep = head.headers
    length: bytes | None = None
    crumbs: list[bytes] | None = None
    trailers = False
    for field in fields:
        name, value = field
        kind = _REQUEST.get(name)
        if kind is None:
            if name[:1] == b":":
                raise MalformedError(f"a pseudo-header field that requests do not have: {_shown(name)}")
            keep.append(field)
        elif kind < _LAST_PSEUDO:
            if pseudo[kind] is not None:
                raise MalformedError(f"{name.decode()} is there twice")
            pseudo[kind] = value
        elif kind == _COOKIE:
            crumbs = [*(crumbs or ()), value]
        elif kind == _LENGTH:
            if length is not None or not is_length(value):
                raise MalformedError("content-length is repeated or not a number")
            length = value
        elif kind == _TE:
            trailers = _te(value)
        elif kind == _HOST:
            if head.host is not None:
                raise MalformedError("host is there twice")
            head.host = value
        elif kind == _EXPECT:
            if value.lower() != b"100-continue":
                raise bad_request("only 100-continue can be expected", 417)
            head.expects_continue = True
            keep.append((name, b"100-continue"))
        elif kind == _VIA:
            head.via = [*(head.via or ()), value]
            keep.append(field)
        elif kind == _PROXY_AUTH:
            if head.proxy_authorization is not None:
                raise bad_request("Proxy-Authorization is there twice")
            head.proxy_authorization = value
        elif kind != _END_HERE:
            _refuse(name)
    _control(head, pseudo, scheme, uri_limit)
    head.keep_alive = True
    if crumbs is not None:
        keep.append((b"cookie", b"; ".join(filter(None, crumbs))))  # §8.2.3
    if trailers:
        keep.append((b"te", b"trailers"))
        keep.append((b"connection", b"te"))  # towards HTTP/1.1; request_fields leaves it out
    if ended:
        if length is not None and int(length):
            raise MalformedError("content-length announces a body, and none comes")
    elif length is not None:
        head.framing, head.length = Framing.LENGTH, int(length)
    else:
        head.framing, head.length = Framing.CHUNKED, None
    return head


def _control(head: RequestHead, pseudo: list[bytes | None], scheme: bytes, uri_limit: int) -> None:
    """What the pseudo-header fields say (§8.3.1)."""
    method, named, authority, path = pseudo
    if not method or method.translate(None, _METHOD):
        raise MalformedError(":method is missing or no token")
    if len(method) > MAX_METHOD_BYTES:
        raise bad_request(f"the method is longer than {MAX_METHOD_BYTES} bytes", 501)
    head.method = method
    host = head.host
    if authority is not None:
        if not authority or authority.translate(None, _VISIBLE) or b"@" in authority:
            raise MalformedError(":authority is empty, or is none")
        if host is not None and host != authority and not _same(host, authority, scheme):
            raise MalformedError("host names another host than :authority")
        head.host = authority
    if method == b"CONNECT":
        if named is not None or path is not None or authority is None:
            raise MalformedError("CONNECT has :authority alone (§8.5)")
        head.target = authority
        return
    if not named or not path:
        raise MalformedError(":scheme or :path is missing or empty")
    if path.translate(None, _VISIBLE) or (path[:1] != b"/" and not (path == b"*" and method == b"OPTIONS")):
        raise MalformedError(":path is no path")
    if not head.host:
        raise MalformedError("neither :authority nor host says whom it is for")
    if len(path) > uri_limit:
        raise bad_request(f"the request target is longer than {uri_limit} bytes", 414)
    if named != scheme:
        raise bad_request(f"this connection carries {scheme.decode()} requests, :scheme is another", 421)
    head.target = path


def response_head(fields: Headers, method: bytes, *, ended: bool, limit: int, max_fields: int) -> ResponseHead:
    """Read the head of a response to a request of ``method``, interim ones included; ``ended``: no body follows.

    MalformedError is a stream error; ProxyError 502 says that it is too large. ``length`` is None, and ``framing``
    CHUNKED, where the end of the stream alone tells.
    """
    size = _check(fields)
    if size > limit:
        raise bad_response(f"the response head is longer than {limit} bytes", "http_response_header_section_size")
    if len(fields) > max_fields:
        raise bad_response(f"the response head has more than {max_fields} fields", "http_response_header_section_size")
    status: int | None = None
    length: bytes | None = None
    announces = False
    keep: Headers = []
    for field in fields:
        name, value = field
        kind = _RESPONSE.get(name)
        if kind is None:
            if name[:1] == b":":
                raise MalformedError(f"a pseudo-header field that responses do not have: {_shown(name)}")
            keep.append(field)
        elif kind == _STATUS:
            code = _CODES.get(value)
            if status is not None or code is None:
                raise MalformedError(":status is there twice, or is none")
            status = code
        elif kind == _LENGTH:
            if (length is not None and length != value) or not is_length(value):
                raise MalformedError("content-length is repeated or not a number")
            length = value
        elif kind == _ANNOUNCES:
            announces = True
            keep.append(field)
        elif kind in _NEVER:
            _refuse(name)
    if status is None:
        raise MalformedError(":status is missing")
    head = ResponseHead(status, b"", VERSION)
    head.headers = keep
    head.announces = announces
    head.keep_alive = True
    _response_framing(head, method, length, ended=ended)
    return head


def _response_framing(head: ResponseHead, method: bytes, length: bytes | None, *, ended: bool) -> None:
    status = head.status
    if status < 200:
        if ended or status == 101:  # §8.1, §8.6
            raise MalformedError("101, or an interim response that ends the stream")
        head.framing, head.length = Framing.NONE, 0
    elif method == b"HEAD" or status in _BODILESS:
        head.framing, head.length = Framing.NONE, 0
        if length is not None and status != 204:
            head.headers.append((b"content-length", length))  # says what GET would have had (RFC 9110 §8.6)
    elif ended:
        if length is not None and int(length):
            raise MalformedError("content-length announces a body, and none comes")
        head.framing, head.length = Framing.NONE, 0
    elif length is not None:
        head.framing, head.length = Framing.LENGTH, int(length)
    else:
        head.framing = Framing.CHUNKED


def trailers(fields: Headers, *, limit: int, max_fields: int) -> Headers:
    """Read trailer fields and return those that go on (RFC 9110 §6.5.1). MalformedError, for size as well."""
    if _check(fields) > limit or len(fields) > max_fields:
        raise MalformedError(f"trailers longer than {limit} bytes or {max_fields} fields")
    keep: Headers = []
    for field in fields:
        name = field[0]
        kind = _EITHER.get(name)
        if name[:1] == b":" or name in FORBIDDEN_TRAILERS or kind in _NEVER:
            raise MalformedError(f"a trailer may not be {_shown(name)}")
        if kind is None and name not in DROPPED_TRAILERS:
            keep.append(field)
    return keep


# --- parts ----------------------------------------------------------------------------------------


def _check(fields: Headers) -> int:
    """Judge all names and values at once, and the order of pseudo-header fields (§8.2.1, §8.3); return their size."""
    names = b"".join([field[0] for field in fields])
    values = b"\n".join([field[1] for field in fields])
    pseudo = names.count(b":")
    if (
        names.translate(None, _NAMES)
        or values.translate(None, _LINES)
        or values.count(b"\n") != len(fields) - 1
        or values[:1] in _SPACE
        or values[-1:] in _SPACE
        or b" \n" in values
        or b"\n " in values
        or b"\t" in values
    ):
        _diagnose(fields)
    for field in fields[:pseudo]:
        if field[0][:1] != b":":
            _diagnose(fields)
    return len(names) + len(values) + (OVERHEAD - 1) * len(fields) + 1


def _diagnose(fields: Headers) -> None:
    """Find out which field is malformed, if one is."""
    after = False
    for name, value in fields:
        bare = name[1:] if name[:1] == b":" else name
        if not bare or bare.translate(None, _TOKEN):
            raise MalformedError(f"a field name is none, or has an upper case letter: {_shown(name)}")
        if name is not bare and after:
            raise MalformedError(f"{_shown(name)} comes after fields that are no pseudo-header fields")
        after = after or name is bare
        if value.translate(None, _TEXT):
            raise MalformedError(f"the value of {_shown(name)} has a control character")
        if value[:1] in _SPACE or value[-1:] in _SPACE:
            raise MalformedError(f"the value of {_shown(name)} begins or ends with white space")


def _refuse(name: bytes) -> NoReturn:
    raise MalformedError(f"a field that HTTP/2 messages do not have: {_shown(name)} (§8.2.2)")


def _te(value: bytes) -> bool:
    if value != b"trailers" and value.lower() != b"trailers":
        raise MalformedError("te says another thing than trailers (§8.2.2)")
    return True


def _same(host: bytes, authority: bytes, scheme: bytes) -> bool:
    try:
        port = DEFAULT_PORTS.get(scheme)
        return parse_authority(host, port) == parse_authority(authority, port)
    except ValueError:
        return False


def _shown(name: bytes) -> str:
    return repr(name[:32])[1:]
