"""Heads, chunks and generated documents as bytes."""

import json

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.wire import encode
from proxyd.wire.request_head import parse_request
from proxyd.wire.response_head import parse_response

TEXT = st.text(max_size=60)


def test_request_head_is_the_host_first_then_fields_in_order_then_this_hops() -> None:
    raw = encode.request_head(b"GET", b"/a?b", b"a.example", [(b"b", b"1"), (b"a", b"2")], b"via: 1.1 x\r\n")
    assert raw == b"GET /a?b HTTP/1.1\r\nhost: a.example\r\nb: 1\r\na: 2\r\nvia: 1.1 x\r\n\r\n"
    assert parse_request(raw, limit=1000, uri_limit=100, max_fields=9).target == b"/a?b"


def test_response_head_keeps_the_upstreams_reason() -> None:
    assert encode.response_head(200, b"", [], b"") == b"HTTP/1.1 200 OK\r\n\r\n"
    assert encode.response_head(200, b"Fine", [], b"") == b"HTTP/1.1 200 Fine\r\n\r\n"
    assert encode.response_head(599, b"", [], b"") == b"HTTP/1.1 599 \r\n\r\n"
    assert parse_response(encode.response_head(599, b"", [], b""), b"GET", limit=99, max_fields=9).status == 599


@pytest.mark.parametrize("status", [200, 404, 299])
def test_a_head_of_lines_made_before_is_the_same_head(status: int) -> None:
    headers = [(b"age", b"1"), (b"etag", b'"%b"')]
    extra = b"content-length: 0\r\n"
    made = encode.response_head_of(status, encode.field_lines(headers), extra)
    assert made == encode.response_head(status, b"", headers, extra)


def test_chunks_are_what_h11_reads() -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(encode.response_head(200, b"", [], b"transfer-encoding: chunked\r\n"))
    client.receive_data(encode.chunk(b"abc") + encode.chunk(b"d" * 300) + encode.last_chunk([(b"x-sum", b"1")]))
    assert isinstance(client.next_event(), h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert body == b"abc" + b"d" * 300
    assert isinstance(event, h11.EndOfMessage)
    assert list(event.headers) == [(b"x-sum", b"1")]


@given(detail=TEXT)
@settings(max_examples=100, deadline=None)
def test_no_detail_can_leave_its_field(detail: str) -> None:
    member = encode.proxy_status("proxyd-x", "http_request_error", detail)
    head = encode.response_head(400, b"", [(b"proxy-status", member)], b"")
    assert parse_response(head, b"GET", limit=10_000, max_fields=1).headers == [(b"proxy-status", member)]
    assert member.count(b'"') == 2
    assert b"\\" not in member


@given(detail=TEXT)
@settings(max_examples=50, deadline=None)
def test_problem_documents_are_json_whatever_the_detail(detail: str) -> None:
    document = json.loads(encode.problem(502, detail, "connection_refused", "ab-1"))
    assert document["status"] == 502
    assert document["title"] == "Bad Gateway"
    assert document["detail"] == detail
    assert document["error"] == "connection_refused"
    assert document["request_id"] == "ab-1"
