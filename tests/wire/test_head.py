"""Heads parsed alone: the tables, the fields that end at this hop, and h11 as a second opinion."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.core.errors import ProxyError
from proxyd.core.headers import Headers
from proxyd.wire.fields import END, Framing, parse_trailers
from proxyd.wire.request_head import RequestHead, incomplete, parse_request, skip_empty_lines
from proxyd.wire.response_head import ResponseHead, parse_response
from tests.wire.vectors import ACCEPTED, ANSWERS_ACCEPTED, ANSWERS_REFUSED, REFUSED, Accepted, Answer, Refused

AUTHORITY = b"origin.example:8080"
LIMITS = {"limit": 61440, "uri_limit": 8192, "max_fields": 100}


def request(raw: bytes) -> RequestHead:
    return parse_request(raw, **LIMITS)


def response(raw: bytes, method: bytes = b"GET") -> ResponseHead:
    return parse_response(raw, method, limit=61440, max_fields=100)


def bytewise(raw: bytes) -> RequestHead:
    """What a connection does whose head arrives byte at a time."""
    for end in range(1, len(raw) + 1):
        data = raw[:end]
        if data.endswith(END):
            return request(data)
        incomplete(data, LIMITS["limit"], LIMITS["uri_limit"], end - 1)
    raise EOFError


def head_of(raw: bytes) -> bytes:
    return raw[: raw.find(END) + 4] if END in raw else raw


# --- requests -------------------------------------------------------------------------------------

AT_FAULT = [row for row in REFUSED if row.head]


@pytest.mark.parametrize("row", [row for row in AT_FAULT if END in row.raw], ids=lambda row: row.name)
def test_malformed_request_head_is_refused(row: Refused) -> None:
    with pytest.raises(ProxyError) as caught:
        request(head_of(row.bytes_for(AUTHORITY)))
    assert caught.value.status == row.status


@pytest.mark.parametrize("row", AT_FAULT, ids=lambda row: row.name)
def test_malformed_request_head_is_refused_byte_at_a_time(row: Refused) -> None:
    raw = row.bytes_for(AUTHORITY)
    if row.name == "three_empty_lines":
        raw = skip_empty_lines(raw)
    with pytest.raises(ProxyError) as caught:
        bytewise(raw)
    assert caught.value.status == row.status


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_tricky_request_head_is_accepted(row: Accepted) -> None:
    raw = head_of(skip_empty_lines(row.bytes_for(AUTHORITY)))
    head = request(raw)
    assert head.method == row.method
    assert end_to_end(head.headers) == row.headers
    assert bytewise(raw).headers == head.headers


def end_to_end(headers: Headers) -> Headers:
    return [item for item in headers if item[0] not in (b"connection", b"te")]


def test_secret_material_of_a_head_is_in_no_error() -> None:
    with pytest.raises(ProxyError) as caught:
        request(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer hunter2\r\nX A: hunter2\r\n\r\n")
    assert "hunter2" not in caught.value.detail


@pytest.mark.parametrize(
    ("line", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", False),
        (b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n", False),
    ],
)
def test_persistence_follows_version_and_connection(line: bytes, keep_alive: bool) -> None:
    assert request(line + b"\r\n").keep_alive is keep_alive


@pytest.mark.parametrize(
    ("fields", "framing", "length"),
    [
        (b"", Framing.NONE, 0),
        (b"Content-Length: 0\r\n", Framing.LENGTH, 0),
        (b"Content-Length: 999999999999999999\r\n", Framing.LENGTH, 10**18 - 1),
        (b"Transfer-Encoding: chunked\r\n", Framing.CHUNKED, None),
    ],
)
def test_framing_of_a_request_is_decided_once(fields: bytes, framing: Framing, length: int | None) -> None:
    head = request(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    assert (head.framing, head.length) == (framing, length)


def test_te_trailers_is_renewed_for_the_next_hop() -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\nConnection: TE\r\n\r\n")
    assert head.headers == [(b"te", b"trailers"), (b"connection", b"te")]


def test_expectation_passes_only_from_1_1() -> None:
    modern = request(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n")
    assert modern.expects_continue
    assert modern.headers == [(b"expect", b"100-continue")]
    old = request(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
    assert not old.expects_continue
    assert old.headers == []


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        (b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"websocket"),
        (b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", b"websocket"),
        (b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\n", b"websocket"),
        (b"Upgrade: websocket\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: h2c\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", None),
    ],
)
def test_upgrade_is_for_websocket_without_body_alone(fields: bytes, upgrade: bytes | None) -> None:
    assert request(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n").upgrade == upgrade


def test_fields_that_connection_named_are_told() -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Key, close\r\nX-Key: 1\r\n\r\n")
    assert head.nominated == {b"x-key"}


def test_a_head_may_be_as_long_as_its_limits_and_no_longer() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    parse_request(raw, limit=len(raw), uri_limit=1, max_fields=1)
    for limits in ({"limit": len(raw) - 1}, {"uri_limit": 0}, {"max_fields": 0}):
        with pytest.raises(ProxyError) as caught:
            parse_request(raw, **({"limit": len(raw), "uri_limit": 1, "max_fields": 1} | limits))
        assert caught.value.status in (414, 431)


def test_empty_lines_before_a_request_are_skipped_up_to_two() -> None:
    assert skip_empty_lines(b"\r\n\r\nGET") == b"GET"
    assert skip_empty_lines(b"\r\n\r\n\r\nGET") == b"\r\nGET"
    assert skip_empty_lines(b"\nGET") == b"\nGET"


# --- responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in ANSWERS_REFUSED
        if END in row.raw and not row.late and not row.name.startswith(("interim", "switching"))
    ],
    ids=lambda row: row.name,
)
def test_malformed_response_head_is_refused(row: Answer) -> None:
    with pytest.raises(ProxyError) as caught:
        response(head_of(row.raw))
    assert caught.value.status == 502


@pytest.mark.parametrize("row", ANSWERS_ACCEPTED, ids=lambda row: row.name)
def test_tricky_response_head_is_accepted(row: Answer) -> None:
    raw = row.raw[row.raw.find(b"HTTP/1.1 200") :] if row.name.startswith("interim") else row.raw
    head = response(head_of(raw), row.method)
    assert head.status == row.status


@pytest.mark.parametrize(
    ("method", "status", "fields", "framing", "length"),
    [
        (b"GET", 200, b"", Framing.CLOSE, None),
        (b"GET", 200, b"Content-Length: 5\r\n", Framing.LENGTH, 5),
        (b"GET", 200, b"Transfer-Encoding: chunked\r\n", Framing.CHUNKED, None),
        (b"HEAD", 200, b"Content-Length: 5\r\n", Framing.NONE, 0),
        (b"HEAD", 200, b"Transfer-Encoding: chunked\r\n", Framing.NONE, 0),
        (b"GET", 204, b"Content-Length: 5\r\n", Framing.NONE, 0),
        (b"GET", 304, b"Content-Length: 5\r\n", Framing.NONE, 0),
        (b"GET", 103, b"", Framing.NONE, 0),
    ],
)
def test_framing_of_a_response_follows_rfc_9112(
    method: bytes, status: int, fields: bytes, framing: Framing, length: int | None
) -> None:
    head = response(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields), method)
    assert (head.framing, head.length) == (framing, length)


def test_length_that_get_would_have_had_is_told_for_head_and_304() -> None:
    for method, status in ((b"HEAD", 200), (b"GET", 304)):
        head = response(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status, method)
        assert head.headers == [(b"content-length", b"5")]
    assert response(b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n").headers == []


def test_response_fields_of_the_hop_end_here() -> None:
    head = response(
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nProxy-Authenticate: a\r\n"
        b"Upgrade: h2c\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"
    )
    assert head.headers == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert not head.keep_alive


@pytest.mark.parametrize(
    ("raw", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_upstream_connection_persists_only_where_the_answer_says_so(raw: bytes, keep_alive: bool) -> None:
    assert response(raw).keep_alive is keep_alive


def test_trailers_that_decide_framing_are_refused_and_those_of_a_hop_are_dropped() -> None:
    assert parse_trailers(b"A: b\r\nTE: x\r\nSet-Cookie: y\r\n\r\n", 100) == [(b"a", b"b")]
    for line in (b"Content-Length: 1", b"transfer-encoding: chunked", b"Host: a"):
        with pytest.raises(ValueError, match="framing or routing"):
            parse_trailers(line + b"\r\n\r\n", 100)


# --- h11 as a second opinion ----------------------------------------------------------------------

TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=12).map(lambda text: "X" + text)
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
BEYOND_ASCII = st.characters(min_codepoint=0xA1, max_codepoint=0xFF)
VALUE = st.text(st.one_of(VISIBLE, st.sampled_from(" \t"), BEYOND_ASCII), max_size=20).map(
    lambda text: text.strip(" \t").encode("latin-1")
)
FIELDS = st.lists(st.tuples(TOKEN.map(str.encode), VALUE), max_size=8)
TARGET = st.text(VISIBLE, max_size=30).map(lambda text: b"/" + text.encode())
BLANK = st.sampled_from([b"", b" ", b"\t", b" \t "])


@given(
    method=st.sampled_from([b"GET", b"POST", b"LIST", b"PROPFIND", b"get"]),
    target=TARGET,
    fields=FIELDS,
    version=st.sampled_from([10, 11]),
    length=st.one_of(st.none(), st.integers(0, 10**9), st.just(-1)),
    blanks=st.lists(BLANK, min_size=18, max_size=18),
)
@settings(max_examples=300, deadline=None)
def test_valid_heads_mean_the_same_to_h11(
    method: bytes,
    target: bytes,
    fields: Headers,
    version: int,
    length: int | None,
    blanks: list[bytes],
) -> None:
    lines = [(b"Host", b"a"), *fields]
    if length is not None and length >= 0:
        lines.append((b"Content-Length", b"%d" % length))
    elif length is not None and version == 11:
        lines.append((b"Transfer-Encoding", b"chunked"))
    raw = b"%b %b HTTP/1.%d\r\n" % (method, target, version - 10)
    for at, (name, value) in enumerate(lines):
        after = b"" if name == b"Transfer-Encoding" else blanks[-at]  # deliberately stricter: chunked and a tab
        raw += b"%b:%b%b%b\r\n" % (name, blanks[at], value, after)
    raw += b"\r\n"
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(raw)
    event = theirs.next_event()
    assert isinstance(event, h11.Request)
    ours = request(raw)
    assert (ours.method, ours.target) == (event.method, event.target)
    hop = (b"host", b"content-length", b"transfer-encoding")
    assert ours.headers == [item for item in event.headers if item[0] not in hop]
    framing = {item[0]: item[1] for item in event.headers if item[0] in hop}
    if b"transfer-encoding" in framing:
        assert ours.framing is Framing.CHUNKED
    else:
        assert ours.length == int(framing.get(b"content-length", b"0"))


VALID = (
    b"POST /path?q HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\nContent-Length: 10\r\n\r\n",
    b"GET / HTTP/1.0\r\nX-A: b\r\nX-B: c\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n",
)


@given(
    raw=st.sampled_from(VALID),
    edits=st.lists(
        st.tuples(st.integers(0, 90), st.sampled_from([*b"\0\t\n\r :;,-+0x1.aAZ\x7f\xff"]), st.booleans()),
        min_size=1,
        max_size=3,
    ),
)
@settings(max_examples=600, deadline=None)  # fmt: skip
def test_mutated_heads_are_never_laxer_than_h11(raw: bytes, edits: list[tuple[int, int, bool]]) -> None:
    changed = bytearray(raw)
    for at, byte, insert in edits:
        at %= len(changed)
        changed[at : at if insert else at + 1] = bytes([byte])
    head = bytes(changed)
    if not head.endswith(END) or head.find(END) != len(head) - 4:
        return  # another message, or none
    try:
        ours = request(head)
    except ProxyError:
        return  # stricter is fine; the tables say where
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(head)
    event = theirs.next_event()  # LocalProtocolError or RemoteProtocolError: we took what h11 refuses
    assert isinstance(event, h11.Request)
    assert event.target == ours.target
    lengths = [value for name, value in event.headers if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
    assert chunked == (ours.framing is Framing.CHUNKED)
    assert ours.length == (None if chunked else int(lengths[0]) if lengths else 0)


@given(raw=st.binary(max_size=200), cut=st.integers(0, 200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_parsed_or_refused(raw: bytes, cut: int) -> None:
    for parse in (request, response):
        try:
            parse(raw[:cut] + END)
        except ProxyError:
            pass
    try:
        incomplete(raw[:cut] or b"a", 100, 50)
    except ProxyError:
        pass


@pytest.mark.parametrize(
    "name", [b"Deprecation", b"sunset", b"Warning", b"npm-notice", b"GitHub-Authentication-Token-Expiration"]
)
def test_a_field_that_may_announce_an_end_is_marked_and_goes_on(name: bytes) -> None:
    head = response(b"HTTP/1.1 200 OK\r\n" + name + b": soon \r\nContent-Length: 0\r\n\r\n")
    assert head.announces
    assert head.headers == [(name.lower(), b"soon")]
    assert not response(b"HTTP/1.1 200 OK\r\nX-Sunset: soon\r\nContent-Length: 0\r\n\r\n").announces
