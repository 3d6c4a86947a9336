"""Cross-origin requests of the pages that a gateway allows; others never see this filter at work."""

import pytest

from proxyd.core.authority import Authority
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.facade import Facade
from proxyd.core.message import BytesBody, Origin, Request, Response
from proxyd.core.snapshot import Snapshot
from proxyd.filters.cors import CorsFilter

API = Authority("api.x", 443, False)
PAGE = b"https://app.example"
ASKED = (b"access-control-request-method", b"PUT")


def exchange(method: bytes, *headers: tuple[bytes, bytes], origin: bytes = PAGE) -> Exchange:
    request = Request(method, b"https", API, b"/", list(headers), BytesBody())
    made = Exchange(Peer("g", "127.0.0.1"), Snapshot(1, "p", 0), request, 0.0, "gateway")
    made.facade = Facade(b"http", b"x", b"", b"https", API, b"", is_gateway=True, origin=origin)
    return made


def test_a_preflight_is_answered() -> None:
    answer = CorsFilter().request(exchange(b"OPTIONS", ASKED, (b"access-control-request-private-network", b"true")))
    assert answer is not None
    assert answer.status == 204
    assert answer.origin is Origin.PROXYD
    fields = dict(answer.headers)
    assert fields[b"access-control-allow-origin"] == PAGE
    assert fields[b"access-control-allow-methods"] == b"PUT"
    assert fields[b"access-control-allow-private-network"] == b"true"
    assert fields[b"vary"] == b"Origin"
    assert b"access-control-allow-headers" not in fields
    assert b"access-control-allow-credentials" not in fields


@pytest.mark.parametrize(
    "other", [exchange(b"GET", ASKED), exchange(b"OPTIONS"), exchange(b"OPTIONS", ASKED, origin=b"")]
)
def test_what_is_no_preflight_of_an_allowed_page_goes_on(other: Exchange) -> None:
    assert CorsFilter().request(other) is None


def test_the_page_may_read_the_answer_and_no_other_origin_is_named() -> None:
    asked = exchange(b"GET")
    asked.response = Response(200, [(b"access-control-allow-origin", b"*"), (b"x", b"1")], BytesBody())
    CorsFilter().response(asked)
    assert asked.response.headers == [
        (b"x", b"1"),
        (b"access-control-allow-origin", PAGE),
        (b"vary", b"Origin"),
        (b"access-control-expose-headers", b"*"),
    ]


def test_answers_to_others_are_left_alone() -> None:
    asked = exchange(b"GET", origin=b"")
    asked.response = Response(200, [(b"access-control-allow-origin", b"*")], BytesBody())
    CorsFilter().response(asked)
    assert asked.response.headers == [(b"access-control-allow-origin", b"*")]
