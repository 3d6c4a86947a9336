"""What is fuzzed: each target takes any bytes and raises where proxyd does what it must not.

A parser may refuse with its own errors, and nothing else. What it takes must mean the same in whatever pieces it came,
and must be taken again when it is written out: else two hops could read one message in two ways.
"""

import itertools
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from hpack import Decoder as ReferenceDecoder
from hpack.exceptions import HPACKError

from proxyd.core.authority import parse_authority
from proxyd.core.errors import ProxyError
from proxyd.core.headers import Headers
from proxyd.core.limits import Http2Limits, Limits
from proxyd.core.messages import Message
from proxyd.wire import encode, http2_head, ipc
from proxyd.wire.decode import ChunkedDecoder
from proxyd.wire.fields import END, Framing
from proxyd.wire.hpack import BombError, CompressionError, Decoder
from proxyd.wire.http2 import PREFACE, Codec, Data, Event, Head, Http2Error, Trailers
from proxyd.wire.http2_fields import request_fields
from proxyd.wire.request_head import RequestHead, incomplete, parse_request, skip_empty_lines
from proxyd.wire.response_head import parse_response
from proxyd.wire.sniff import ClientHello, Incomplete, NotTls, sniff

Target = Callable[[bytes], None]
LIMITS: Final = Limits()
HTTP2: Final = Http2Limits()
LINKS: Final = (
    ipc.CONTROL_TO_WORKER,
    ipc.WORKER_TO_CONTROL,
    ipc.CONTROL_TO_SUPERVISOR,
    ipc.SUPERVISOR_TO_CONTROL,
    ipc.SUPERVISOR_TO_WORKER,
)
ANY: Final = frozenset(typing.get_args(Message))
METHODS: Final = (b"GET", b"HEAD", b"POST", b"CONNECT")
FRAMING: Final = {Framing.NONE: b"", Framing.CHUNKED: b"transfer-encoding: chunked\r\n"}


def cuts(data: bytes) -> Iterator[int]:
    """A few places to cut ``data`` at, spread by what it holds."""
    size = len(data)
    if size > 1:
        yield from sorted({1, size // 2, size - 1, sum(data) % size, data[0] * size // 256} - {0})


def pieces(data: bytes) -> list[bytes]:
    """``data`` in the pieces that ``cuts`` makes."""
    places = [0, *cuts(data), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


# --- before HTTP ----------------------------------------------------------------------------------


def first_bytes(data: bytes) -> None:
    """A verdict stands whatever comes after it; one that waits knows for how much."""
    whole = sniff(data, LIMITS.hello_bytes)
    for cut in cuts(data):
        before = sniff(data[:cut], LIMITS.hello_bytes)
        if isinstance(before, Incomplete):
            assert before.missing > 0
            assert not isinstance(whole, ClientHello) or cut + before.missing <= len(data), "it waits for too much"
        elif isinstance(before, ClientHello):
            assert whole == before
        else:
            assert isinstance(whole, NotTls)
    if isinstance(whole, ClientHello) and whole.sni is not None:
        assert whole.sni
        assert whole.sni == whole.sni.lower()
        assert not set(whole.sni) & set("/@ \t\r\n\0")


# --- HTTP/1.1 -------------------------------------------------------------------------------------


def request_head(data: bytes) -> None:
    """What is taken is no longer refused when half of it came, and is read the same when it is written out."""
    data = skip_empty_lines(data)
    end = data.find(END)
    raw = data[: end + 4] if end >= 0 else data + END
    try:
        head = _request(raw)
    except ProxyError:
        return
    for cut in cuts(raw):
        incomplete(raw[:cut], LIMITS.head_bytes, LIMITS.uri_bytes)
    _same_by_http1(head)


def response_head(data: bytes) -> None:
    """The first byte chooses the request's method. What is taken is read the same when it is written out."""
    method = METHODS[data[0] % len(METHODS)] if data else b"GET"
    end = data.find(END)
    raw = data[1 : end + 4] if end >= 1 else data[1:] + END
    try:
        head = parse_response(raw, method, limit=LIMITS.head_bytes, max_fields=LIMITS.head_fields)
    except ProxyError:
        return
    _sound(head.headers)
    assert 100 <= head.status <= 599
    extra = b"content-length: %d\r\n" % (head.length or 0) if head.framing is Framing.LENGTH else b""
    extra += FRAMING.get(head.framing, b"")
    written = encode.response_head(head.status, head.reason, head.headers, extra)
    again = parse_response(written, method, limit=2 * LIMITS.head_bytes, max_fields=LIMITS.head_fields + 1)
    assert (again.status, again.headers) == (head.status, head.headers)
    assert (again.framing, again.length) == (head.framing, head.length)


def chunked_body(data: bytes) -> None:
    """The same body, end and refusal in one piece and in many; what follows the body is not of it."""
    assert _chunked([data]) == _chunked(pieces(data)) == _chunked([data[at : at + 1] for at in range(len(data))])


def _chunked(parts: Sequence[bytes]) -> tuple[bytes, bytes, bool, Headers] | None:
    decoder, body = ChunkedDecoder(), bytearray()
    fed = 0
    for part in parts:
        if decoder.done:
            break
        try:
            body += decoder.feed(part)
        except ValueError:
            return None
        fed += len(part)
    after = b"".join(parts)[fed:]
    if not decoder.done:
        try:
            decoder.finish()
        except ValueError:
            return bytes(body), b"", False, []
        raise AssertionError("a chunked body ended with its stream")
    _sound(decoder.trailers)
    return bytes(body), decoder.surplus + after, True, decoder.trailers


def _request(raw: bytes) -> RequestHead:
    return parse_request(raw, limit=LIMITS.head_bytes, uri_limit=LIMITS.uri_bytes, max_fields=LIMITS.head_fields)


def _same_by_http1(head: RequestHead) -> None:
    """Write ``head`` as HTTP/1.1 and read it as the next hop does."""
    _sound(head.headers)
    extra = b"content-length: %d\r\n" % (head.length or 0) if head.framing is Framing.LENGTH else FRAMING[head.framing]
    written = encode.request_head(head.method, head.target, head.host or b"a.example", head.headers, extra)
    assert written.find(END) == len(written) - 4
    again = parse_request(
        written, limit=2 * LIMITS.head_bytes, uri_limit=LIMITS.uri_bytes, max_fields=LIMITS.head_fields + 2
    )
    assert (again.method, again.target) == (head.method, head.target)
    assert [field for field in again.headers if field[0] != b"connection"] == [
        field for field in head.headers if field[0] != b"connection"
    ]
    assert (again.framing, again.length) == (head.framing, head.length)


def _sound(fields: Headers) -> None:
    """Names in lower case and without space, values of one line without space around them."""
    for name, value in fields:
        assert name
        assert name == name.lower()
        assert not set(name) & set(b" \t\r\n\0:")
        assert not set(value) & set(b"\r\n\0")
        assert value == value.strip(b" \t")


# --- HTTP/2 ---------------------------------------------------------------------------------------


def http2_of_client(data: bytes) -> None:
    """What a client may send, after its preface."""
    _connection(PREFACE + data, client=False)


def http2_of_server(data: bytes) -> None:
    """What a server may send to one that has asked twice."""
    _connection(data, client=True)


def _connection(data: bytes, *, client: bool) -> None:
    whole, parts = _hear([data], client=client), _hear(pieces(data), client=client)
    if whole is None or parts is None:
        assert whole is parts, "refused in one piece, and not in many"
    else:
        assert whole == parts


def _hear(parts: Sequence[bytes], *, client: bool) -> list[Event] | None:
    """All events; None where the connection was ended."""
    codec = Codec(client=client, limits=HTTP2, clock=lambda: 0.0)
    codec.begin()
    if client:
        for _ in range(2):
            fields = request_fields(b"POST", b"http", b"a", b"/", [])
            codec.head(codec.open(), fields, ended=False)
    codec.take()
    heard: list[Event] = []
    for part in parts:
        try:
            events = codec.receive(part)
        except Http2Error:
            assert _kinds(codec.take())[-1] == 7, "a connection ends by GOAWAY"
            return None
        _kinds(codec.take())
        for event in events:
            _look(event, client=client)
        heard += events
        assert codec.streams <= HTTP2.streams
    return heard


def _look(event: Event, *, client: bool) -> None:
    """Read heads and trailers as those who are told of them do."""
    fields = [tuple(field) for field in event.fields] if isinstance(event, Head | Trailers) else []
    if isinstance(event, Data):
        assert len(event.data) <= event.credit
    elif isinstance(event, Trailers):
        _trailers(fields)
    elif isinstance(event, Head) and client:
        _response(fields, ended=event.ended)
    elif isinstance(event, Head):
        _http2_request(fields, ended=event.ended)


def _kinds(data: bytes) -> list[int]:
    """The kinds of the frames that were sent, which are whole."""
    kinds, at = [], 0
    while at < len(data):
        kinds.append(data[at + 3])
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    assert at == len(data), "half a frame was sent"
    return kinds


def http2_fields(data: bytes) -> None:
    """Field lists as lines of ``name NUL value``; the first byte says whether the stream ends there."""
    fields = [(name, value) for name, _, value in (line.partition(b"\0") for line in data[1:].split(b"\n"))]
    ended = bool(data and data[0] & 1)
    _http2_request(fields, ended=ended)
    _response(fields, ended=ended)
    _trailers(fields)


def _http2_request(fields: Headers, *, ended: bool) -> None:
    """What is taken is good HTTP/1.1, and good HTTP/2 again."""
    bounds = {"limit": LIMITS.head_bytes, "uri_limit": LIMITS.uri_bytes, "max_fields": LIMITS.head_fields}
    try:
        head = http2_head.request_head(fields, ended=ended, scheme=b"http", **bounds)
    except (http2_head.MalformedError, ProxyError):
        return
    _same_by_http1(head)
    if head.method == b"CONNECT" or head.host is None:
        return
    try:
        parse_authority(head.host, 80)  # as whoever binds it to a service does
    except ValueError:
        return
    length = head.length if head.framing is Framing.LENGTH else None
    written = request_fields(head.method, b"http", head.host, head.target, head.headers, length=length)
    bounds["max_fields"] += 4096  # crumbs of cookies are fields of their own
    again = http2_head.request_head([field[:2] for field in written], ended=ended, scheme=b"http", **bounds)
    assert (again.method, again.host, again.target) == (head.method, head.host, head.target)
    assert sorted(again.headers) == sorted(head.headers)
    assert (again.framing, again.length) == (head.framing, head.length)


def _response(fields: Headers, *, ended: bool) -> None:
    """What is taken is good HTTP/1.1."""
    for method in METHODS[:2]:
        try:
            head = http2_head.response_head(
                fields, method, ended=ended, limit=LIMITS.head_bytes, max_fields=LIMITS.head_fields
            )
        except (http2_head.MalformedError, ProxyError):
            continue
        _sound(head.headers)
        written = encode.response_head(head.status, b"", head.headers, b"")
        again = parse_response(written, method, limit=2 * LIMITS.head_bytes, max_fields=LIMITS.head_fields)
        assert again.status == head.status


def _trailers(fields: Headers) -> None:
    try:
        kept = http2_head.trailers(fields, limit=LIMITS.head_bytes, max_fields=LIMITS.head_fields)
    except http2_head.MalformedError:
        return
    _sound(kept)
    decoder = ChunkedDecoder()
    decoder.feed(encode.last_chunk(kept))
    assert decoder.done
    assert not decoder.surplus


def field_sections(data: bytes) -> None:
    """HPACK, several blocks (the first byte of each says how long it is), beside the library that is the reference.

    What is taken is what the reference takes. What is refused may be more.
    """
    own, reference = Decoder(2 * HTTP2.head_bytes), ReferenceDecoder(max_header_list_size=2 * HTTP2.head_bytes)
    while data:
        block, data = data[1 : 1 + data[0]], data[1 + data[0] :]
        try:
            fields = own.decode(block)
        except (CompressionError, BombError):
            return
        try:
            wanted = reference.decode(block, raw=True)
        except HPACKError as error:
            raise AssertionError("the reference refuses this") from error
        assert [tuple(field) for field in fields] == [tuple(field) for field in wanted]


# --- between processes ----------------------------------------------------------------------------


def ipc_frames(data: bytes) -> None:
    """A message is refused by ValueError, or is one that can be said again, on those links that take its kind."""
    try:
        message = ipc.decode(data, ANY)
    except ValueError:
        return
    again = ipc.decode(ipc.encode(message), ANY)
    assert repr(again) == repr(message)  # by what is shown: NaN is not equal to itself
    for link in LINKS:
        try:
            assert repr(ipc.decode(data, link)) == repr(message)
        except ValueError:
            assert type(message) not in link
        else:
            assert type(message) in link


TARGETS: Final[dict[str, Target]] = {
    "sniff": first_bytes,
    "request-head": request_head,
    "response-head": response_head,
    "chunked": chunked_body,
    "http2-client": http2_of_client,
    "http2-server": http2_of_server,
    "http2-fields": http2_fields,
    "hpack": field_sections,
    "ipc": ipc_frames,
}
