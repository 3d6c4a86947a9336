"""Tables of HTTP/1.1 messages that are malformed or tricky, and what is to become of each (RFC 9110, 9112).

``@`` in a request stands for the origin's authority; no row holds one otherwise, except by ``AT``. The same rows are
parsed alone (tests/wire) and sent through a live worker, whole and byte at a time (tests/downstream).
"""

from dataclasses import dataclass, field

AT = b"\0at\0"
"""A literal at sign; replaced last."""

GET = b"GET http://@/ HTTP/1.1\r\nHost: @\r\n"
POST = b"POST http://@/ HTTP/1.1\r\nHost: @\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is answered with ``status``, after which the connection ends; no origin sees it complete."""

    name: str
    raw: bytes
    status: int = 400
    head: bool = True
    """The head alone is at fault; else the body, or the target once the head was parsed."""

    def bytes_for(self, authority: bytes) -> bytes:
        return fill(self.raw, authority)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A tricky request, and what the origin has to see of it. Fields are end-to-end ones, in order."""

    name: str
    raw: bytes
    method: bytes = b"GET"
    path: bytes = b"/"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def bytes_for(self, authority: bytes) -> bytes:
        return fill(self.raw, authority)


def fill(raw: bytes, authority: bytes) -> bytes:
    return raw.replace(b"@", authority).replace(AT, b"@")


def _line(text: bytes) -> bytes:
    return text + b"\r\nHost: @\r\n\r\n"


def _field(line: bytes) -> bytes:
    return GET + line + b"\r\n\r\n"


def _chunks(body: bytes) -> bytes:
    return CHUNKED + body


_REQUEST_LINES = [
    Refused("line_bare_lf", b"GET http://@/ HTTP/1.1\nHost: @\r\n\r\n"),
    Refused("line_bare_cr", b"GET http://@/ HTTP/1.1\rHost: @\r\n\r\n"),
    Refused("line_two_spaces", _line(b"GET  http://@/ HTTP/1.1")),
    Refused("line_tab", _line(b"GET\thttp://@/ HTTP/1.1")),
    Refused("line_tab_before_version", _line(b"GET http://@/\tHTTP/1.1")),
    Refused("line_trailing_space", _line(b"GET http://@/ HTTP/1.1 ")),
    Refused("line_leading_space", _line(b" GET http://@/ HTTP/1.1")),
    Refused("line_without_version", _line(b"GET http://@/")),
    Refused("line_lower_case_version", _line(b"GET http://@/ http/1.1")),
    Refused("line_space_in_target", _line(b"GET http://@/a b HTTP/1.1")),
    Refused("line_without_method", _line(b" http://@/ HTTP/1.1")),
    Refused("line_bad_method", _line(b"GE(T http://@/ HTTP/1.1")),
    Refused("line_nul_in_method", _line(b"GE\0T http://@/ HTTP/1.1")),
    Refused("line_long_method", _line(b"M" * 33 + b" http://@/ HTTP/1.1"), 501),
    Refused("line_http_2", _line(b"GET http://@/ HTTP/2.0"), 505),
    Refused("line_http_3", _line(b"GET http://@/ HTTP/3"), 505),
    Refused("line_http_0_9", _line(b"GET http://@/ HTTP/0.9"), 505),
    Refused("line_http_1_2", _line(b"GET http://@/ HTTP/1.2"), 505),
    Refused("line_http_1_10", _line(b"GET http://@/ HTTP/1.10"), 505),
    Refused("preface_of_http_2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    Refused("three_empty_lines", b"\r\n\r\n\r\n" + GET + b"\r\n"),
    Refused("tls_hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(80)),
    Refused("socks_greeting", b"\x05\x01\x00"),
    Refused("binary", b"\x80\x81\x82\x83 \r\n\r\n"),
    Refused("json", b'{"a": 1}\r\n\r\n'),
]

_TARGETS = [
    Refused("target_origin_form", _line(b"GET / HTTP/1.1"), head=False),
    Refused("target_asterisk", _line(b"OPTIONS * HTTP/1.1"), head=False),
    Refused("target_authority_form", _line(b"GET @ HTTP/1.1"), head=False),
    Refused("target_ftp", _line(b"GET ftp://@/ HTTP/1.1"), head=False),
    Refused("target_scheme_only", _line(b"GET http:// HTTP/1.1"), head=False),
    Refused("target_one_slash", _line(b"GET http:/@/ HTTP/1.1"), head=False),
    Refused("target_empty_authority", _line(b"GET http:///a HTTP/1.1"), head=False),
    Refused("target_userinfo", _line(b"GET http://user" + AT + b"@/ HTTP/1.1"), head=False),
    Refused("target_password", _line(b"GET http://user:pass" + AT + b"@/ HTTP/1.1"), head=False),
    Refused("target_fragment", _line(b"GET http://@/a#b HTTP/1.1"), head=False),
    Refused("target_fragment_after_authority", _line(b"GET http://@#b HTTP/1.1"), head=False),
    Refused("target_fragment_after_query", _line(b"GET http://@/?a#b HTTP/1.1"), head=False),
    Refused("target_port_0", _line(b"GET http://127.0.0.1:0/ HTTP/1.1"), head=False),
    Refused("target_port_65536", _line(b"GET http://127.0.0.1:65536/ HTTP/1.1"), head=False),
    Refused("target_port_word", _line(b"GET http://127.0.0.1:http/ HTTP/1.1"), head=False),
    Refused("target_port_signed", _line(b"GET http://127.0.0.1:+80/ HTTP/1.1"), head=False),
    Refused("target_two_ports", _line(b"GET http://127.0.0.1:80:80/ HTTP/1.1"), head=False),
    Refused("target_open_bracket", _line(b"GET http://[::1/ HTTP/1.1"), head=False),
    Refused("target_zone", _line(b"GET http://[fe80::1%25lo]/ HTTP/1.1"), head=False),
    Refused("target_name_in_brackets", _line(b"GET http://[localhost]/ HTTP/1.1"), head=False),
    Refused("target_ipv4_as_number", _line(b"GET http://2130706433/ HTTP/1.1"), head=False),
    Refused("target_ipv4_hexadecimal", _line(b"GET http://0x7f.0.0.1/ HTTP/1.1"), head=False),
    Refused("target_ipv4_octal", _line(b"GET http://0177.0.0.1/ HTTP/1.1"), head=False),
    Refused("target_ipv4_short", _line(b"GET http://127.1/ HTTP/1.1"), head=False),
    Refused("target_percent_in_host", _line(b"GET http://%6cocalhost/ HTTP/1.1"), head=False),
    Refused("target_nul", _line(b"GET http://@/\0 HTTP/1.1")),
    Refused("target_control", _line(b"GET http://@/\x01 HTTP/1.1")),
    Refused("target_delete", _line(b"GET http://@/\x7f HTTP/1.1")),
    Refused("target_beyond_ascii", _line(b"GET http://@/\xc3\xa9 HTTP/1.1")),
    Refused("target_too_long", _line(b"GET http://@/" + b"a" * 8200 + b" HTTP/1.1"), 414),
    Refused("target_endless", b"GET http://@/" + b"a" * 9000, 414),
    Refused("connect_without_port", _line(b"CONNECT localhost HTTP/1.1"), head=False),
    Refused("connect_url", _line(b"CONNECT http://@/ HTTP/1.1"), head=False),
    Refused("connect_path", _line(b"CONNECT /@ HTTP/1.1"), head=False),
    Refused("connect_userinfo", _line(b"CONNECT user" + AT + b"@ HTTP/1.1"), head=False),
    Refused("connect_with_body", b"CONNECT @ HTTP/1.1\r\nHost: @\r\nContent-Length: 4\r\n\r\nabcd", head=False),
    Refused(
        "connect_chunked", b"CONNECT @ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", head=False
    ),
]

_FIELDS = [
    Refused("host_missing", b"GET http://@/ HTTP/1.1\r\n\r\n"),
    Refused("host_twice", _field(b"Host: other.example")),
    Refused("host_twice_equal", _field(b"Host: @")),
    Refused("host_with_space", b"GET http://@/ HTTP/1.1\r\nHost: a b\r\n\r\n", head=False),
    Refused("host_with_path", b"GET http://@/ HTTP/1.1\r\nHost: @/a\r\n\r\n", head=False),
    Refused("host_list", b"GET http://@/ HTTP/1.1\r\nHost: @, @\r\n\r\n", head=False),
    Refused("host_userinfo", b"GET http://@/ HTTP/1.1\r\nHost: a" + AT + b"@\r\n\r\n", head=False),
    Refused("host_beyond_ascii", b"GET http://@/ HTTP/1.1\r\nHost: \xc3\xa9.example\r\n\r\n", head=False),
    Refused("space_before_colon", _field(b"X-A : b")),
    Refused("tab_before_colon", _field(b"X-A\t: b")),
    Refused("fold_space", _field(b"X-A: b\r\n c")),
    Refused("fold_tab", _field(b"X-A: b\r\n\tc")),
    Refused("fold_first", b"GET http://@/ HTTP/1.1\r\n Host: @\r\nHost: @\r\n\r\n"),
    Refused("fold_last_empty", _field(b"X-A: b\r\n ")),
    Refused("no_colon", _field(b"X-A")),
    Refused("empty_name", _field(b": b")),
    Refused("name_with_space", _field(b"X A: b")),
    Refused("name_with_bracket", _field(b"X(A): b")),
    Refused("name_beyond_ascii", _field(b"X-\xc3\xa9: b")),
    Refused("nul_in_name", _field(b"X\0A: b")),
    Refused("nul_in_value", _field(b"X-A: b\0c")),
    Refused("control_in_value", _field(b"X-A: b\x01c")),
    Refused("delete_in_value", _field(b"X-A: b\x7fc")),
    Refused("vertical_tab", _field(b"X-A: b\x0bc")),
    Refused("form_feed", _field(b"X-A: b\x0cc")),
    Refused("bare_cr_in_value", _field(b"X-A: b\rc")),
    Refused("bare_cr_before_crlf", _field(b"X-A: b\r")),
    Refused("bare_lf_between_fields", _field(b"X-A: b\nX-B: c")),
    Refused("bare_lf_at_end", GET + b"\n" + GET + b"\r\n"),
    Refused("bare_lf_throughout", b"GET http://@/ HTTP/1.1\nHost: @\n\n"),
    Refused("length_signed", _field(b"Content-Length: +5")),
    Refused("length_negative", _field(b"Content-Length: -5")),
    Refused("length_hexadecimal", _field(b"Content-Length: 0x5")),
    Refused("length_two_numbers", _field(b"Content-Length: 5 5")),
    Refused("length_list", _field(b"Content-Length: 5, 5")),
    Refused("length_list_differing", _field(b"Content-Length: 5, 6")),
    Refused("length_empty", _field(b"Content-Length:")),
    Refused("length_word", _field(b"Content-Length: five")),
    Refused("length_fraction", _field(b"Content-Length: 5.0")),
    Refused("length_exponent", _field(b"Content-Length: 1e3")),
    Refused("length_19_digits", _field(b"Content-Length: 1000000000000000000")),
    Refused("length_beyond_64_bits", _field(b"Content-Length: 99999999999999999999")),
    Refused("length_twice_equal", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde"),
    Refused("length_twice_differing", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"),
    Refused("length_and_coding", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Refused("coding_and_length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    Refused(
        "coding_and_length_folded_case", POST + b"tRANSFER-eNCODING: chunked\r\ncontent-LENGTH: 0\r\n\r\n0\r\n\r\n"
    ),
    Refused("coding_twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Refused("coding_chunked_chunked", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    Refused("coding_empty", POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    Refused("coding_with_parameter", POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
    Refused("coding_vertical_tab", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    Refused("coding_empty_member", POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    Refused("coding_quoted", POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    Refused("coding_gzip", POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    Refused("coding_identity", POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    Refused("coding_unknown", POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    Refused("coding_gzip_chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    Refused("coding_chunked_gzip", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 501),
    Refused("coding_on_1_0", b"POST http://@/ HTTP/1.0\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Refused("connection_names_host", _field(b"Connection: close, Host")),
    Refused("connection_names_length", POST + b"Content-Length: 1\r\nConnection: content-length\r\n\r\na"),
    Refused("connection_names_coding", POST + b"Connection: transfer-encoding\r\n\r\n"),
    Refused("connection_names_authorization", _field(b"Connection: Authorization")),
    Refused("connection_names_cookie", _field(b"Connection: keep-alive\r\nConnection: cookie")),
    Refused("expect_unknown", _field(b"Expect: 200-ok"), 417),
    Refused("proxy_authorization_twice", _field(b"Proxy-Authorization: Basic YQ==\r\nProxy-Authorization: Basic YQ==")),
    Refused("fields_101", GET + b"".join(b"X-%d: a\r\n" % n for n in range(100)) + b"\r\n", 431),
    Refused("head_too_long", GET + b"X-A: " + b"a" * 61440 + b"\r\n\r\n", 431),
    Refused("head_endless", GET + b"X-A: " + b"a" * 61440, 431),
]

_BODIES = [
    Refused(f"chunk_{name}", _chunks(body), head=False)
    for name, body in [
        ("size_word", b"g\r\na\r\n0\r\n\r\n"),
        ("size_empty", b"\r\na\r\n0\r\n\r\n"),
        ("size_signed", b"+1\r\na\r\n0\r\n\r\n"),
        ("size_negative", b"-1\r\na\r\n0\r\n\r\n"),
        ("size_prefixed", b"0x1\r\na\r\n0\r\n\r\n"),
        ("size_leading_space", b" 1\r\na\r\n0\r\n\r\n"),
        ("size_two_numbers", b"1 1\r\na\r\n0\r\n\r\n"),
        ("size_underscore", b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"),
        ("size_16_digits", b"1000000000000000\r\na"),
        ("size_bare_lf", b"1\na\r\n0\r\n\r\n"),
        ("size_bare_cr", b"1\ra\r\n0\r\n\r\n"),
        ("size_cr_cr_lf", b"1\r\r\na\r\n0\r\n\r\n"),
        ("extension_bare_lf", b"1;a\nb\r\n0\r\n\r\n"),
        ("extension_nul", b"1;a=\0\r\na\r\n0\r\n\r\n"),
        ("extension_too_long", b"1;" + b"a" * 5000 + b"\r\na\r\n0\r\n\r\n"),
        ("size_line_endless", b"1;" + b"a" * 5000),
        ("data_too_long", b"1\r\nab\r\n0\r\n\r\n"),
        ("data_without_crlf", b"1\r\na0\r\n\r\n"),
        ("data_bare_lf", b"1\r\na\n0\r\n\r\n"),
        ("data_bare_cr", b"1\r\na\r0\r\n\r\n"),
        ("trailer_fold", b"1\r\na\r\n0\r\nX-A: b\r\n c\r\n\r\n"),
        ("trailer_no_colon", b"1\r\na\r\n0\r\nX-A\r\n\r\n"),
        ("trailer_bare_lf", b"1\r\na\r\n0\r\nX-A: b\nX-B: c\r\n\r\n"),
        ("trailer_control", b"1\r\na\r\n0\r\nX-A: \x01\r\n\r\n"),
        ("trailer_length", b"1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n"),
        ("trailer_coding", b"1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("trailer_host", b"1\r\na\r\n0\r\nHost: other.example\r\n\r\n"),
        ("trailers_101", b"1\r\na\r\n0\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"\r\n"),
        ("trailers_too_long", b"1\r\na\r\n0\r\nX-A: " + b"a" * 61500 + b"\r\n\r\n"),
    ]
]

REFUSED = _REQUEST_LINES + _TARGETS + _FIELDS + _BODIES


def _with(*lines: bytes, body: bytes = b"", start: bytes = GET) -> bytes:
    return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


_SMUGGLED = b"GET http://x/ HTTP/1.1\r\nHost: x.yz\r\n\r\n"
_MANY = [(b"x-%d" % n, b"a") for n in range(99)]
_ODD = b"""/a/../b/./c//d;e=f/%2F%2e%2E%5c/~!$&'()*+,-._:AT|^`{}[]"<>?q=%&r[]=/?""".replace(b"AT", AT)

ACCEPTED = [
    Accepted("plain", _with()),
    Accepted("one_empty_line_before", b"\r\n" + _with()),
    Accepted("two_empty_lines_before", b"\r\n\r\n" + _with()),
    Accepted("names_lower_cased", _with(b"X-ABC: Def"), headers=[(b"x-abc", b"Def")]),
    Accepted(
        "order_and_repetition", _with(b"B: 1", b"A: 2", b"B: 3"), headers=[(b"b", b"1"), (b"a", b"2"), (b"b", b"3")]
    ),
    Accepted("space_around_value", _with(b"X-A: \t b c \t "), headers=[(b"x-a", b"b c")]),
    Accepted("no_space_after_colon", _with(b"X-A:b"), headers=[(b"x-a", b"b")]),
    Accepted("empty_value", _with(b"X-A:", b"X-B: "), headers=[(b"x-a", b""), (b"x-b", b"")]),
    Accepted("tab_within_value", _with(b"X-A: b\tc"), headers=[(b"x-a", b"b\tc")]),
    Accepted("value_beyond_ascii", _with(b"X-A: \xc3\xa9\xff"), headers=[(b"x-a", b"\xc3\xa9\xff")]),
    Accepted("colons_in_value", _with(b"X-A: :b:c:"), headers=[(b"x-a", b":b:c:")]),
    Accepted("every_token_character", _with(b"!#$%&'*+-.^_`|~0Z: b"), headers=[(b"!#$%&'*+-.^_`|~0z", b"b")]),
    Accepted("long_value", _with(b"X-A: " + b"a" * 50000), headers=[(b"x-a", b"a" * 50000)]),
    Accepted("fields_100", GET + b"".join(b"%b: %b\r\n" % f for f in _MANY) + b"\r\n", headers=_MANY),
    Accepted("method_list", _with(start=b"LIST http://@/ HTTP/1.1\r\nHost: @\r\n"), method=b"LIST"),
    Accepted("method_lower_case", _with(start=b"get http://@/ HTTP/1.1\r\nHost: @\r\n"), method=b"get"),
    Accepted(
        "method_odd", _with(start=b"M-!#$%&'*+.^_`|~ http://@/ HTTP/1.1\r\nHost: @\r\n"), method=b"M-!#$%&'*+.^_`|~"
    ),
    Accepted(
        "path_bytes_untouched",
        _with(start=b"GET http://@" + _ODD + b" HTTP/1.1\r\nHost: @\r\n"),
        path=_ODD.replace(AT, b"@"),
    ),
    Accepted(
        "path_of_8_kib",
        _with(start=b"GET http://@/" + b"a" * 8100 + b" HTTP/1.1\r\nHost: @\r\n"),
        path=b"/" + b"a" * 8100,
    ),
    Accepted("path_empty", _with(start=b"GET http://@ HTTP/1.1\r\nHost: @\r\n")),
    Accepted("path_empty_with_query", _with(start=b"GET http://@?a=/b HTTP/1.1\r\nHost: @\r\n"), path=b"/?a=/b"),
    Accepted(
        "options_without_path", _with(start=b"OPTIONS http://@ HTTP/1.1\r\nHost: @\r\n"), method=b"OPTIONS", path=b"*"
    ),
    Accepted("options_with_path", _with(start=b"OPTIONS http://@/ HTTP/1.1\r\nHost: @\r\n"), method=b"OPTIONS"),
    Accepted("scheme_upper_case", _with(start=b"GET HTTP://@/ HTTP/1.1\r\nHost: @\r\n")),
    Accepted("host_replaced_for_unknown_hosts", _with(start=b"GET http://@/ HTTP/1.1\r\nHost: other.example\r\n")),
    Accepted("host_empty", _with(start=b"GET http://@/ HTTP/1.1\r\nHost:\r\n")),
    Accepted("version_1_0_without_host", _with(start=b"GET http://@/ HTTP/1.0\r\n")),
    Accepted("version_1_0_expect_ignored", _with(b"Expect: 100-continue", start=b"GET http://@/ HTTP/1.0\r\n")),
    Accepted("post_empty", _with(b"Content-Length: 0", start=POST), method=b"POST"),
    Accepted("post_without_framing", _with(start=POST), method=b"POST"),
    Accepted(
        "post_body", _with(b"Content-Length: 5", start=POST, body=b"a\r\n\r\n"), method=b"POST", body=b"a\r\n\r\n"
    ),
    Accepted(
        "length_leading_zeros", _with(b"Content-Length: 0005", start=POST, body=b"abcde"), method=b"POST", body=b"abcde"
    ),
    Accepted("length_space", _with(b"Content-Length:  5 \t", start=POST, body=b"abcde"), method=b"POST", body=b"abcde"),
    Accepted("get_with_body", _with(b"Content-Length: 5", body=b"abcde"), body=b"abcde"),
    Accepted(
        "body_beyond_one_read",
        _with(b"Content-Length: 200000", start=POST, body=b"abcd" * 50000),
        method=b"POST",
        body=b"abcd" * 50000,
    ),
    Accepted(
        "body_like_a_request",
        _with(b"Content-Length: %d" % len(_SMUGGLED), start=POST, body=_SMUGGLED),
        method=b"POST",
        body=_SMUGGLED,
    ),
    Accepted("chunked", _chunks(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), method=b"POST", body=b"abc"),
    Accepted("chunked_empty", _chunks(b"0\r\n\r\n"), method=b"POST"),
    Accepted(
        "chunked_upper_case",
        _with(b"Transfer-Encoding: CHUNKED", start=POST, body=b"1\r\na\r\n0\r\n\r\n"),
        method=b"POST",
        body=b"a",
    ),
    Accepted("chunked_get", _with(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\n\r\n"), body=b"a"),
    Accepted("chunk_size_zeros", _chunks(b"0001\r\na\r\n000\r\n\r\n"), method=b"POST", body=b"a"),
    Accepted(
        "chunk_size_hexadecimal", _chunks(b"aA\r\n" + b"b" * 170 + b"\r\n0\r\n\r\n"), method=b"POST", body=b"b" * 170
    ),
    Accepted(
        "chunk_extensions_end_here",
        _chunks(b'1;a\r\nx\r\n1 ; b="c;d"\r\ny\r\n0;last\r\n\r\n'),
        method=b"POST",
        body=b"xy",
    ),
    Accepted("chunk_data_of_crlf", _chunks(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), method=b"POST", body=b"\r\n\r\n"),
    Accepted(
        "trailers",
        _chunks(b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-B:  c \r\n\r\n"),
        method=b"POST",
        body=b"a",
        trailers=[(b"x-sum", b"1"), (b"x-b", b"c")],
    ),
    Accepted(
        "trailers_that_end_here",
        _chunks(b"1\r\na\r\n0\r\nAuthorization: x\r\nX-B: c\r\n\r\n"),
        method=b"POST",
        body=b"a",
        trailers=[(b"x-b", b"c")],
    ),
    Accepted(
        "hop_by_hop_fields_end_here",
        _with(
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"X-A: b",
            b"Proxy-Authorization: Basic YTpi",
            b"Proxy-Authenticate: x",
        ),
        headers=[(b"x-a", b"b")],
    ),
    Accepted(
        "connection_named_fields_end_here",
        _with(b"X-A: 1", b"Connection: x-a, X-C", b"X-B: 2", b"X-C: 3"),
        headers=[(b"x-b", b"2")],
    ),
    Accepted(
        "h2c_ends_here",
        _with(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        headers=[],
    ),
    Accepted("upgrade_unknown_ends_here", _with(b"Connection: upgrade", b"Upgrade: foo/2"), headers=[]),
    Accepted("upgrade_not_in_connection_ends_here", _with(b"Upgrade: websocket"), headers=[]),
    Accepted(
        "upgrade_with_body_ends_here",
        _with(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5", start=POST, body=b"abcde"),
        method=b"POST",
        body=b"abcde",
    ),
    Accepted("te_gzip_ends_here", _with(b"TE: gzip"), headers=[]),
    Accepted(
        "end_to_end_fields_pass",
        _with(b"Authorization: Bearer own", b"Cookie: a=b", b"Accept-Encoding: br", b"Range: bytes=0-1", b"Trailer: x"),
        headers=[
            (b"authorization", b"Bearer own"),
            (b"cookie", b"a=b"),
            (b"accept-encoding", b"br"),
            (b"range", b"bytes=0-1"),
            (b"trailer", b"x"),
        ],
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of an upstream, and what the client is to get: ``status``, or the upstream's own with ``body``."""

    name: str
    raw: bytes
    status: int = 502
    body: bytes | None = None
    """Expected body; None where the answer is proxyd's own."""
    method: bytes = b"GET"
    late: bool = False
    """The head may be on its way when the fault shows: then the body is cut by a reset."""


def _answer(line: bytes) -> bytes:
    return OK + line + b"\r\n\r\n"


_CHUNKED_ANSWER = OK + b"Transfer-Encoding: chunked\r\n\r\n"

ANSWERS_REFUSED = [
    Answer("nothing", b""),
    Answer("line_only", b"HTTP/1.1 200 OK\r\n"),
    Answer("garbage", b"\x00\x01\x02\r\n\r\n"),
    Answer("http_0_9", b"<html>hello</html>"),
    Answer("ssh", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    Answer("version_2", b"HTTP/2 200 OK\r\n\r\n"),
    Answer("version_lower_case", b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("version_1_2", b"HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("status_two_digits", b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("status_four_digits", b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("status_000", b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("status_600", b"HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("status_word", b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("status_glued", b"HTTP/1.1 200OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("two_spaces", b"HTTP/1.1  200 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("empty_line_before", b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    Answer("line_bare_lf", b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n"),
    Answer("all_bare_lf", b"HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
    Answer("reason_control", b"HTTP/1.1 200 O\x01K\r\ncontent-length: 0\r\n\r\n"),
    Answer("reason_bare_cr", b"HTTP/1.1 200 O\rK\r\ncontent-length: 0\r\n\r\n"),
    Answer("nul_in_value", _answer(b"X-A: \0")),
    Answer("control_in_value", _answer(b"X-A: \x1b[31m")),
    Answer("bare_cr_in_value", _answer(b"X-A: b\rSet-Cookie: c")),
    Answer("bare_lf_in_value", _answer(b"X-A: b\nSet-Cookie: c")),
    Answer("fold", _answer(b"X-A: b\r\n c\r\ncontent-length: 0")),
    Answer("space_before_colon", _answer(b"X-A : b\r\ncontent-length: 0")),
    Answer("no_colon", _answer(b"X-A\r\ncontent-length: 0")),
    Answer("empty_name", _answer(b": b\r\ncontent-length: 0")),
    Answer("name_with_space", _answer(b"X A: b\r\ncontent-length: 0")),
    Answer("length_signed", _answer(b"Content-Length: +0")),
    Answer("length_negative", _answer(b"Content-Length: -1")),
    Answer("length_word", _answer(b"Content-Length: zero")),
    Answer("length_empty", _answer(b"Content-Length:")),
    Answer("length_beyond_64_bits", _answer(b"Content-Length: 99999999999999999999")),
    Answer("length_twice_differing", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    Answer("length_list_differing", OK + b"Content-Length: 1, 2\r\n\r\nab"),
    Answer("length_twice_one_bad", OK + b"Content-Length: 1\r\nContent-Length: 1;\r\n\r\na"),
    Answer("length_and_coding", OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Answer(
        "length_twice_and_coding",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Answer("coding_gzip", OK + b"Transfer-Encoding: gzip\r\n\r\n"),
    Answer("coding_gzip_chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    Answer("coding_chunked_gzip", OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    Answer("coding_twice", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Answer("coding_on_1_0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Answer("fields_101", OK + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"content-length: 0\r\n\r\n"),
    Answer("head_too_long", OK + b"X-A: " + b"a" * 61440 + b"\r\ncontent-length: 0\r\n\r\n"),
    Answer("head_endless", OK + b"X-A: " + b"a" * 80000),
    Answer(
        "switching_unasked", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    ),
    Answer("interim_11_times", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 11 + _answer(b"content-length: 0")),
    Answer("interim_then_end", b"HTTP/1.1 100 Continue\r\n\r\n"),
    Answer("body_short", OK + b"Content-Length: 5\r\n\r\nabc", late=True),
    Answer("chunk_size_word", _CHUNKED_ANSWER + b"g\r\na\r\n0\r\n\r\n", late=True),
    Answer("chunk_size_signed", _CHUNKED_ANSWER + b"+1\r\na\r\n0\r\n\r\n", late=True),
    Answer("chunk_size_16_digits", _CHUNKED_ANSWER + b"1000000000000000\r\na", late=True),
    Answer("chunk_bare_lf", _CHUNKED_ANSWER + b"1\na\n0\n\n", late=True),
    Answer("chunk_data_too_long", _CHUNKED_ANSWER + b"1\r\nab\r\n0\r\n\r\n", late=True),
    Answer("chunk_without_last", _CHUNKED_ANSWER + b"1\r\na\r\n", late=True),
    Answer("chunk_cut_in_data", _CHUNKED_ANSWER + b"5\r\nab", late=True),
    Answer("chunk_cut_in_trailers", _CHUNKED_ANSWER + b"1\r\na\r\n0\r\nX-A: b\r\n", late=True),
    Answer("trailer_fold", _CHUNKED_ANSWER + b"1\r\na\r\n0\r\nX-A: b\r\n c\r\n\r\n", late=True),
    Answer("trailer_length", _CHUNKED_ANSWER + b"1\r\na\r\n0\r\nContent-Length: 1\r\n\r\n", late=True),
]

ANSWERS_ACCEPTED = [
    Answer("length", OK + b"Content-Length: 3\r\n\r\nabc", 200, b"abc"),
    Answer("length_twice_equal", OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    Answer("length_list_equal", OK + b"Content-Length: 3, 3\r\n\r\nabc", 200, b"abc"),
    Answer("length_and_surplus", OK + b"Content-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n", 200, b"abc"),
    Answer("close_delimited", OK + b"\r\nabc", 200, b"abc"),
    Answer("close_delimited_empty", OK + b"\r\n", 200, b""),
    Answer("version_1_0", b"HTTP/1.0 200 OK\r\n\r\nabc", 200, b"abc"),
    Answer(
        "version_1_0_length", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc", 200, b"abc"
    ),
    Answer("no_reason", b"HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    Answer("no_reason_no_space", b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    Answer("reason_beyond_ascii", b"HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    Answer("status_unassigned", b"HTTP/1.1 599 Odd\r\nContent-Length: 3\r\n\r\nabc", 599, b"abc"),
    Answer("chunked", _CHUNKED_ANSWER + b"1\r\na\r\n2;x\r\nbc\r\n0\r\n\r\n", 200, b"abc"),
    Answer("chunked_case", OK + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, b"abc"),
    Answer("chunked_trailers", _CHUNKED_ANSWER + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"abc"),
    Answer(
        "interim_10_times",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10 + OK + b"Content-Length: 3\r\n\r\nabc",
        200,
        b"abc",
    ),
    Answer("no_content", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    Answer("no_content_with_length", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", 204, b""),
    Answer("not_modified_with_length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", 304, b""),
    Answer("head_with_length", OK + b"Content-Length: 3\r\n\r\n", 200, b"", method=b"HEAD"),
    Answer("head_chunked", _CHUNKED_ANSWER, 200, b"", method=b"HEAD"),
    Answer("redirect", b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n", 302, b""),
]
