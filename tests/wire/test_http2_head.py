"""Field lists to heads and back: what is malformed, what is too large, and what crosses the bridge."""

from typing import Any

import pytest

from proxyd.core.errors import ProxyError
from proxyd.core.headers import Headers
from proxyd.wire.fields import Framing
from proxyd.wire.hpack import Never
from proxyd.wire.http2_fields import request_fields, response_fields, trailer_fields
from proxyd.wire.http2_head import MalformedError, request_head, response_head, trailers
from proxyd.wire.request_head import RequestHead
from proxyd.wire.response_head import ResponseHead

GET: Headers = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"api.test"), (b":path", b"/a?b=c")]
OK: Headers = [(b":status", b"200")]


def _request(fields: Headers, *, ended: bool = True, **limits: Any) -> RequestHead:
    bounds = {"limit": 61440, "uri_limit": 8192, "max_fields": 100} | limits
    return request_head(fields, ended=ended, scheme=b"https", **bounds)


def _response(fields: Headers, method: bytes = b"GET", *, ended: bool = False, **limits: Any) -> ResponseHead:
    return response_head(fields, method, ended=ended, **({"limit": 61440, "max_fields": 100} | limits))


def _with(**changes: bytes | None) -> Headers:
    named = {name: changes.get(name[1:].decode(), value) for name, value in GET}
    return [(name, value) for name, value in named.items() if value is not None]


def test_a_request_becomes_what_one_by_http1_would_be() -> None:
    head = _request([*GET, (b"accept", b"*/*"), (b"x-a", b"1")])
    assert (head.method, head.target, head.host, head.version) == (b"GET", b"/a?b=c", b"api.test", 20)
    assert head.headers == [(b"accept", b"*/*"), (b"x-a", b"1")]
    assert (head.framing, head.length, head.keep_alive, head.upgrade) == (Framing.NONE, 0, True, None)


def test_host_stands_in_for_an_absent_authority() -> None:
    assert _request([*_with(authority=None), (b"host", b"api.test")]).host == b"api.test"


@pytest.mark.parametrize("host", [b"api.test", b"API.test", b"api.test:443"])
def test_host_beside_authority_may_say_the_same(host: bytes) -> None:
    head = _request([*GET, (b"host", host)])
    assert head.host == b"api.test"
    assert head.headers == []


def test_cookie_crumbs_are_joined() -> None:
    head = _request([*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3; d=4")])
    assert head.headers == [(b"x", b"y"), (b"cookie", b"a=1; b=2; c=3; d=4")]


def test_crumbs_of_nothing_leave_no_white_space_at_an_end() -> None:
    head = _request([*GET, (b"cookie", b""), (b"cookie", b"a=1"), (b"cookie", b"")])
    assert head.headers == [(b"cookie", b"a=1")]
    assert _request([*GET, (b"cookie", b""), (b"cookie", b"")]).headers == [(b"cookie", b"")]


def test_te_trailers_passes_in_the_words_of_http1_and_comes_out_again() -> None:
    head = _request([*GET, (b"te", b"trailers")])
    assert head.headers == [(b"te", b"trailers"), (b"connection", b"te")]
    out = request_fields(b"GET", b"https", b"h", b"/", head.headers)
    assert out[4:] == [(b"te", b"trailers", False)]


def test_fields_for_this_hop_are_taken_out() -> None:
    head = _request([*GET, (b"proxy-authorization", b"Basic x"), (b"expect", b"100-Continue"), (b"via", b"2 a")])
    assert head.proxy_authorization == b"Basic x"
    assert head.expects_continue
    assert head.via == [b"2 a"]
    assert head.headers == [(b"expect", b"100-continue"), (b"via", b"2 a")]


def test_connect_has_authority_alone() -> None:
    head = _request([(b":method", b"CONNECT"), (b":authority", b"api.test:443")], ended=False)
    assert (head.method, head.target, head.host) == (b"CONNECT", b"api.test:443", b"api.test:443")


def test_options_of_everything() -> None:
    assert _request(_with(method=b"OPTIONS", path=b"*")).target == b"*"


@pytest.mark.parametrize(
    ("length", "ended", "framing", "expected"),
    [
        (None, True, Framing.NONE, 0),
        (b"0", True, Framing.NONE, 0),
        (b"7", False, Framing.LENGTH, 7),
        (b"0", False, Framing.LENGTH, 0),
        (None, False, Framing.CHUNKED, None),
    ],
)
def test_framing_of_a_request(length: bytes | None, ended: bool, framing: Framing, expected: int | None) -> None:
    fields = GET if length is None else [*GET, (b"content-length", length)]
    head = _request(fields, ended=ended)
    assert (head.framing, head.length) == (framing, expected)
    assert head.headers == []


MALFORMED = {
    "no method": _with(method=None),
    "an empty method": _with(method=b""),
    "a method that is no token": _with(method=b"G T"),
    "no scheme": _with(scheme=None),
    "no path": _with(path=None),
    "an empty path": _with(path=b""),
    "a path that is none": _with(path=b"a"),
    "an asterisk that OPTIONS alone has": _with(path=b"*"),
    "a space in the path": _with(path=b"/a b"),
    "a high byte in the path": _with(path=b"/\xc3\xa4"),
    "an empty authority": _with(authority=b""),
    "no authority and no host": _with(authority=None),
    "userinfo": _with(authority=b"user@api.test"),
    "a space in the authority": _with(authority=b"api.test evil"),
    "another host": [*GET, (b"host", b"evil.test")],
    "a host that is none": [*GET, (b"host", b"[")],
    "two hosts": [*GET, (b"host", b"api.test"), (b"host", b"api.test")],
    "a pseudo-header twice": [*GET, (b":path", b"/a?b=c")],
    "an unknown pseudo-header": [*GET, (b":version", b"1")],
    "a response's pseudo-header": [*GET, (b":status", b"200")],
    "extended CONNECT, not offered": [*GET, (b":protocol", b"websocket")],
    "a pseudo-header after a field": [*GET[:3], (b"a", b"b"), GET[3]],
    "CONNECT with a path": _with(method=b"CONNECT", scheme=None),
    "CONNECT with a scheme": _with(method=b"CONNECT", path=None),
    "an upper case name": [*GET, (b"Accept", b"*/*")],
    "an empty name": [*GET, (b"", b"x")],
    "a colon alone": [*GET, (b":", b"x")],
    "a colon within a name": [*GET, (b"a:b", b"x")],
    "a space in a name": [*GET, (b"a b", b"x")],
    "a line break in a name": [*GET, (b"a\r\nb", b"x")],
    "a high byte in a name": [*GET, (b"a\xe4", b"x")],
    "NUL in a value": [*GET, (b"a", b"x\0y")],
    "CR in a value": [*GET, (b"a", b"x\ry")],
    "LF in a value": [*GET, (b"a", b"x\ny")],
    "CRLF and a field in a value": [*GET, (b"a", b"x\r\nhost: evil")],
    "DEL in a value": [*GET, (b"a", b"x\x7f")],
    "a value that begins with a space": [*GET, (b"a", b" x")],
    "a value that ends with a space": [*GET, (b"a", b"x "), (b"b", b"y")],
    "a value that begins with a tab": [*GET, (b"a", b"\tx"), (b"b", b"y")],
    "a value that ends with a tab": [*GET, (b"a", b"x\t")],
    "connection": [*GET, (b"connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"timeout=5")],
    "proxy-connection": [*GET, (b"proxy-connection", b"keep-alive")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GET, (b"upgrade", b"websocket")],
    "te with another coding": [*GET, (b"te", b"trailers, deflate")],
    "content-length that is no number": [*GET, (b"content-length", b"+1")],
    "two content-lengths": [*GET, (b"content-length", b"0"), (b"content-length", b"0")],
    "content-length without a body": [*GET, (b"content-length", b"1")],
    "nothing": [],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_refused(fields: Headers) -> None:
    with pytest.raises(MalformedError) as caught:
        _request(fields)
    assert "evil" not in str(caught.value)


def test_a_tab_within_a_value_is_none_of_that() -> None:
    assert _request([*GET, (b"a", b"x\ty"), (b"b", b""), (b"c", b"\xff")]).headers[0] == (b"a", b"x\ty")


@pytest.mark.parametrize(
    ("fields", "limits", "status"),
    [
        ([*GET, (b"a", b"x" * 200)], {"limit": 300}, 431),
        ([*GET, *[(b"a", b"")] * 97], {}, 431),
        (_with(path=b"/" + b"x" * 100), {"uri_limit": 100}, 414),
        (_with(method=b"X" * 33), {}, 501),
        ([*GET, (b"expect", b"200-ok")], {}, 417),
        (_with(scheme=b"http"), {}, 421),
        (_with(scheme=b"ftp"), {}, 421),
        ([*GET, *[(b"proxy-authorization", b"Basic x")] * 2], {}, 400),
    ],
)
def test_what_is_well_formed_and_not_served_has_a_status(fields: Headers, limits: Any, status: int) -> None:
    with pytest.raises(ProxyError) as caught:
        _request(fields, **limits)
    assert caught.value.status == status


def test_the_size_is_that_of_the_rfc() -> None:
    size = sum(len(name) + len(value) + 32 for name, value in GET)
    _request(GET, limit=size)
    with pytest.raises(ProxyError):
        _request(GET, limit=size - 1)


# --- responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "length", "ended", "framing", "expected", "kept"),
    [
        (b"200", b"GET", b"3", False, Framing.LENGTH, 3, []),
        (b"200", b"GET", None, False, Framing.CHUNKED, None, []),
        (b"200", b"GET", None, True, Framing.NONE, 0, []),
        (b"200", b"GET", b"0", True, Framing.NONE, 0, []),
        (b"200", b"HEAD", b"3", True, Framing.NONE, 0, [(b"content-length", b"3")]),
        (b"304", b"GET", b"3", True, Framing.NONE, 0, [(b"content-length", b"3")]),
        (b"204", b"GET", b"0", True, Framing.NONE, 0, []),
        (b"103", b"GET", None, False, Framing.NONE, 0, []),
    ],
)
def test_framing_of_a_response(
    status: bytes,
    method: bytes,
    length: bytes | None,
    ended: bool,
    framing: Framing,
    expected: int | None,
    kept: Headers,
) -> None:
    fields = [(b":status", status)] if length is None else [(b":status", status), (b"content-length", length)]
    head = _response(fields, method, ended=ended)
    assert (head.status, head.framing, head.length, head.headers) == (int(status), framing, expected, kept)
    assert (head.version, head.reason, head.keep_alive) == (20, b"", True)


MALFORMED_RESPONSES = {
    "no status": [(b"a", b"b")],
    "two statuses": [*OK, *OK],
    "a status of two digits": [(b":status", b"20")],
    "a status that is no number": [(b":status", b"2x0")],
    "a status beyond the classes": [(b":status", b"600")],
    "a request's pseudo-header": [*OK, (b":path", b"/")],
    "a status after a field": [(b"a", b"b"), *OK],
    "connection": [*OK, (b"connection", b"close")],
    "transfer-encoding": [*OK, (b"transfer-encoding", b"chunked")],
    "an upper case name": [*OK, (b"Server", b"x")],
    "a line break in a value": [*OK, (b"a", b"x\r\ny: z")],
    "content-lengths that differ": [*OK, (b"content-length", b"1"), (b"content-length", b"2")],
    "switching protocols": [(b":status", b"101")],
}


@pytest.mark.parametrize("fields", MALFORMED_RESPONSES.values(), ids=MALFORMED_RESPONSES.keys())
def test_a_malformed_response_is_refused(fields: Headers) -> None:
    with pytest.raises(MalformedError):
        _response(fields)


def test_what_ends_at_once_announces_no_body() -> None:
    with pytest.raises(MalformedError):
        _response([*OK, (b"content-length", b"1")], ended=True)
    with pytest.raises(MalformedError):
        _response([(b":status", b"100")], ended=True)


def test_a_response_that_is_too_large_is_the_upstreams_fault() -> None:
    with pytest.raises(ProxyError) as caught:
        _response([*OK, (b"a", b"x" * 100)], limit=100)
    assert caught.value.status == 502


# --- trailers -------------------------------------------------------------------------------------


def test_trailers_go_on_without_those_that_do_not_belong() -> None:
    fields = [(b"grpc-status", b"0"), (b"te", b"trailers"), (b"set-cookie", b"a=b"), (b"grpc-message", b"")]
    kept = trailers(fields, limit=1000, max_fields=10)
    assert kept == [(b"grpc-status", b"0"), (b"grpc-message", b"")]
    assert trailer_fields(kept) == [(b"grpc-status", b"0", False), (b"grpc-message", b"", False)]


@pytest.mark.parametrize(
    "field",
    [(b":status", b"200"), (b"content-length", b"1"), (b"connection", b"x"), (b"A", b"b"), (b"a", b"b\n"), (b"", b"")],
)
def test_malformed_trailers_are_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(MalformedError):
        trailers([field], limit=1000, max_fields=10)


def test_trailers_have_a_limit() -> None:
    with pytest.raises(MalformedError):
        trailers([(b"a", b"b")] * 3, limit=1000, max_fields=2)


# --- out ------------------------------------------------------------------------------------------


def test_a_request_goes_out_without_the_fields_of_a_hop() -> None:
    headers = [(b"accept", b"*/*"), (b"connection", b"te"), (b"te", b"trailers"), (b"host", b"x"), (b"upgrade", b"y")]
    assert request_fields(b"POST", b"http", b"a:1", b"/p", headers, length=3, via=b"1.1 p") == [
        (b":method", b"POST", False),
        (b":scheme", b"http", False),
        (b":authority", b"a:1", False),
        (b":path", b"/p", False),
        (b"accept", b"*/*", False),
        (b"te", b"trailers", False),
        (b"content-length", b"3", False),
        (b"via", b"1.1 p", False),
    ]


def test_secrets_are_never_indexed() -> None:
    headers = [(b"authorization", b"Bearer a"), (b"x-key", b"k-hidden-k"), (b"x-other", b"1")]
    fields = request_fields(b"GET", b"http", b"a", b"/?key=hidden", headers, secrets=(b"hidden",))
    assert [name for name, _, never in fields if never] == [b":path", b"authorization", b"x-key"]
    assert response_fields(200, [(b"set-cookie", b"a")])[1] == (b"set-cookie", b"a", True)


def test_what_came_as_never_indexed_goes_on_as_such() -> None:
    secret = Never((b"x-session", b"1"))
    head = _request([*GET, secret])
    assert request_fields(b"GET", b"http", b"a", b"/", head.headers)[4] == (b"x-session", b"1", True)
    assert response_fields(200, [secret])[1] == (b"x-session", b"1", True)
    assert trailer_fields([secret]) == [(b"x-session", b"1", True)]


def test_cookies_are_split() -> None:
    fields = request_fields(b"GET", b"http", b"a", b"/", [(b"cookie", b"a=1; b=2")])
    assert fields[4:] == [(b"cookie", b"a=1", True), (b"cookie", b"b=2", True)]


@pytest.mark.parametrize("value", [b"a=1;  b=2", b"a=1 ; b=2", b"; b=2", b"a=1; ; b=2", b"a=1; \tb=2"])
def test_a_cookie_whose_crumbs_would_be_malformed_stays_whole(value: bytes) -> None:
    fields = request_fields(b"GET", b"https", b"api.test", b"/", [(b"cookie", value)])
    assert fields[4:] == [(b"cookie", value, True)]
    assert _request([field[:2] for field in fields]).headers == [(b"cookie", value)]


def test_a_response_says_its_length_once() -> None:
    assert response_fields(200, [(b"a", b"b")], length=3, via=b"2 p") == [
        (b":status", b"200", False),
        (b"a", b"b", False),
        (b"content-length", b"3", False),
        (b"via", b"2 p", False),
    ]
    headers = [(b"content-length", b"9"), (b"connection", b"close")]
    assert response_fields(200, headers)[1:] == [(b"content-length", b"9", False)]
    assert response_fields(200, headers, length=4)[1:] == [(b"content-length", b"4", False)]


def test_a_field_that_may_announce_an_end_is_marked_and_goes_on() -> None:
    head = _response([(b":status", b"200"), (b"sunset", b"soon")])
    assert head.announces
    assert head.headers == [(b"sunset", b"soon")]
    assert not _response([(b":status", b"200"), (b"x-sunset", b"soon")]).announces
