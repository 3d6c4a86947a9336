import pytest

from proxyd.core.authority import Authority
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request, Response
from proxyd.core.snapshot import Snapshot
from proxyd.filters.reflection import ReflectionFilter

SECRET = b"s3cr3t-t0k3n-value"
STARS = b"*" * len(SECRET)
TEXT = [(b"content-type", b"text/plain")]


class Pieces:
    """A body that comes in pieces."""

    replayable = False

    def __init__(self, *pieces, length=None, trailers=()):
        self.pieces = list(pieces)
        self.length = length
        self.trailers = list(trailers)
        self.abandoned = False

    async def read(self):
        return self.pieces.pop(0) if self.pieces else b""

    def take_ready(self):
        return None

    def take_pending(self):
        return self.pieces.pop(0) if self.pieces else b""

    def abandon(self):
        self.abandoned = True


async def reflect(body, *, headers=TEXT, secrets=(SECRET,), status=200, limit=1000, reason=b"OK"):
    """Pass a response through the filter; return it, its body as read, and the counts that were told."""
    request = Request(b"GET", b"https", Authority("api.example", 443, False), b"/", [], BytesBody())
    exchange = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
    exchange.secrets = secrets
    response = exchange.response = Response(status, list(headers), body, reason)
    if isinstance(body, BytesBody):
        response.raw_head = b"".join(b"%b: %b\r\n" % item for item in headers) + reason
    counts = []
    ReflectionFilter(limit, counts.append).response(exchange)
    pieces = []
    while piece := await response.body.read():
        pieces.append(piece)
    return response, pieces, counts


async def test_an_echo_in_a_short_body_is_masked_at_the_same_length():
    response, pieces, counts = await reflect(BytesBody(b"<" + SECRET + b">"))
    assert pieces == [b"<" + STARS + b">"]
    assert response.body.length == len(SECRET) + 2
    assert counts == [1]


async def test_echoes_in_headers_and_in_the_reason_are_masked_whatever_the_body():
    headers = [(b"content-type", b"image/png"), (b"x-echo", SECRET)]
    response, pieces, counts = await reflect(BytesBody(SECRET), headers=headers, reason=b"No " + SECRET)
    assert response.headers == [(b"content-type", b"image/png"), (b"x-echo", STARS)]
    assert response.reason == b""
    assert pieces == [SECRET]
    assert counts == [1]


async def test_an_echo_across_pieces_of_a_stream_is_masked():
    _, pieces, counts = await reflect(Pieces(b"data: " + SECRET[:7], SECRET[7:] + b"\n", b"data: more\n"))
    assert b"".join(pieces) == b"data: " + STARS + b"\ndata: more\n"
    assert pieces[0] == b"data: "
    assert pieces[-1] == b"data: more\n"
    assert counts == [1]


async def test_a_stream_that_ends_within_a_live_prefix_ends_whole():
    _, pieces, counts = await reflect(Pieces(b"x" + SECRET[:7]))
    assert b"".join(pieces) == b"x" + SECRET[:7]
    assert counts == []


async def test_trailers_are_masked():
    trailers = [(b"x-echo", SECRET)]
    response, pieces, counts = await reflect(Pieces(SECRET, trailers=trailers), headers=[])
    assert pieces == [SECRET]
    assert response.body.trailers == [(b"x-echo", STARS)]
    assert counts == [1]


async def test_of_an_endless_body_the_first_bytes_are_searched():
    _, pieces, _ = await reflect(Pieces(b"x" * 60 + SECRET, b"y" * 40, SECRET), limit=100)
    assert b"".join(pieces) == b"x" * 60 + STARS + b"y" * 40 + SECRET


async def test_nothing_held_is_lost_where_the_search_ends():
    _, pieces, _ = await reflect(Pieces(b"x" * 95 + SECRET[:6], SECRET[6:]), limit=100)
    assert b"".join(pieces) == b"x" * 95 + SECRET


@pytest.mark.parametrize(
    ("length", "headers"),
    [(2000, TEXT), (2, [(b"content-type", b"image/png")]), (2, [*TEXT, (b"content-encoding", b"br")])],
)
async def test_a_body_that_cannot_be_searched_is_passed_on_itself(length, headers):
    body = Pieces(b"ab", length=length)
    response, pieces, counts = await reflect(body, headers=headers)
    assert response.body is body
    assert pieces == [b"ab"]
    assert counts == []


async def test_a_response_without_an_echo_is_left_alone():
    body = BytesBody(b"hello")
    response, pieces, counts = await reflect(body)
    assert response.body is body
    assert pieces == [b"hello"]
    assert counts == []


async def test_without_an_injected_secret_nothing_is_searched():
    body = Pieces(SECRET)
    response, _, counts = await reflect(body, secrets=())
    assert response.body is body
    assert counts == []


async def test_giving_up_is_passed_on_to_the_body():
    body = Pieces(b"a", b"b")
    request = Request(b"GET", b"https", Authority("api.example", 443, False), b"/", [], BytesBody())
    exchange = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
    exchange.secrets = (SECRET,)
    response = exchange.response = Response(200, list(TEXT), body)
    ReflectionFilter(1000, [].append).response(exchange)
    assert response.body.take_pending() == b"a"
    response.body.abandon()
    assert body.abandoned
