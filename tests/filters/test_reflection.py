import gzip
import zlib
from contextlib import suppress

import pytest

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError
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


async def reflect(
    body, *, headers=TEXT, secrets=(SECRET,), status=200, limit=1000, reason=b"OK", raw=True, version=11, room=10**9
):
    """Pass a response through the filter; return it, its body as read, and the counts that were told."""
    request = Request(b"GET", b"https", Authority("api.example", 443, False), b"/", [], BytesBody())
    exchange = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
    exchange.secrets = secrets
    response = exchange.response = Response(status, list(headers), body, reason, version)
    if isinstance(body, BytesBody) and raw:
        response.raw_head = b"".join(b"%b: %b\r\n" % item for item in headers) + reason
    counts = []
    waits = ReflectionFilter(limit, counts.append, room).response(exchange)
    if waits is not None:
        await waits
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
    [(2000, TEXT), (2, [(b"content-type", b"image/png")]), (2000, [*TEXT, (b"content-encoding", b"br")])],
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
    ReflectionFilter(1000, [].append, 10_000).response(exchange)
    assert response.body.take_pending() == b"a"
    response.body.abandon()
    assert body.abandoned


async def test_a_head_that_was_never_text_is_searched_as_well():
    response, _, counts = await reflect(BytesBody(b""), headers=[(b"x-echo", SECRET)], raw=False)
    assert response.headers == [(b"x-echo", STARS)]
    assert counts == [1]


GZIPPED = [*TEXT, (b"content-encoding", b"gzip"), (b"etag", b'"1"'), (b"content-digest", b"sha-256=:x:")]
DECODED = [*TEXT, (b"etag", b'W/"1"')]


def gzip_pieces(*pieces):
    coder = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    coded = [coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*coded[:-1], coded[-1] + coder.flush()]


@pytest.mark.parametrize(
    "body",
    [
        BytesBody(gzip.compress(b"nothing of interest")),
        Pieces(gzip.compress(b"nothing")[:9], gzip.compress(b"nothing")[9:], length=len(gzip.compress(b"nothing"))),
    ],
    ids=["at hand", "on its way"],
)
async def test_a_coded_body_without_an_echo_stays_as_it_came(body):
    coded = body.peek() if isinstance(body, BytesBody) else b"".join(body.pieces)
    response, pieces, counts = await reflect(body, headers=GZIPPED)
    assert pieces == [coded]
    assert response.body.length == len(coded)
    assert response.headers == GZIPPED
    assert counts == []


@pytest.mark.parametrize("is_at_hand", [True, False])
async def test_a_coded_body_with_an_echo_is_sent_decoded_and_masked(is_at_hand):
    coded = gzip.compress(b"<" + SECRET + b">")
    body = BytesBody(coded) if is_at_hand else Pieces(coded[:20], coded[20:], length=len(coded))
    response, pieces, counts = await reflect(body, headers=GZIPPED)
    assert pieces == [b"<" + STARS + b">"]
    assert response.body.length == len(SECRET) + 2
    assert response.headers == DECODED
    assert counts == [1]


async def test_an_echo_behind_the_searched_bytes_of_a_coded_body_stays():
    text = b"x" * 60 + SECRET + b"y" * 100_000 + SECRET
    response, pieces, counts = await reflect(BytesBody(gzip.compress(text)), headers=GZIPPED, limit=1000)
    assert b"".join(pieces) == b"x" * 60 + STARS + b"y" * 100_000 + SECRET
    assert response.body.length is None
    assert response.headers == DECODED
    assert counts == [1]


async def test_a_coded_stream_is_decoded_and_masked_piece_by_piece():
    coded = gzip_pieces(b"data: one\n\n", b"data: " + SECRET[:9], SECRET[9:] + b"\n\n", b"data: last\n\n")
    trailers = [(b"x-echo", SECRET), (b"repr-digest", b"sha-256=:x:")]
    response, pieces, counts = await reflect(Pieces(*coded, trailers=trailers), headers=GZIPPED)
    assert response.headers == DECODED
    assert pieces == [b"data: one\n\n", b"data: ", STARS + b"\n\n", b"data: last\n\n"]
    assert response.body.trailers == [(b"x-echo", STARS)]
    assert counts == [2]


async def test_trailers_of_a_short_coded_body_survive():
    coded = gzip.compress(SECRET)
    trailers = [(b"grpc-status", b"0"), (b"x-echo", SECRET), (b"content-digest", b"sha-256=:x:")]
    response, pieces, _ = await reflect(Pieces(coded, length=len(coded), trailers=trailers), headers=GZIPPED)
    assert pieces == [STARS]
    assert response.body.take_ready() is None
    assert response.body.trailers == [(b"grpc-status", b"0"), (b"x-echo", STARS)]


async def test_a_body_that_is_waited_for_is_searched_for_its_own_secrets():
    """Another response, of an attempt with another secret, comes in between."""
    coded = gzip.compress(SECRET)
    filter_ = ReflectionFilter(1000, [].append, 10_000)

    def exchange(body, secret):
        request = Request(b"GET", b"https", Authority("api.example", 443, False), b"/", [], BytesBody())
        made = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
        made.secrets = (secret,)
        made.response = Response(200, list(GZIPPED), body)
        return made

    first = exchange(Pieces(coded, length=len(coded)), SECRET)
    waits = filter_.response(first)
    filter_.response(exchange(BytesBody(coded), b"rotated-secret-value"))
    await waits
    assert await first.response.body.read() == STARS


async def test_what_has_no_room_to_be_waited_for_is_decoded_as_it_comes():
    coded = gzip.compress(b"nothing of interest")
    response, pieces, _ = await reflect(Pieces(coded[:9], coded[9:], length=len(coded)), headers=GZIPPED, room=9)
    assert b"".join(pieces) == b"nothing of interest"
    assert response.body.length is None
    assert response.headers == DECODED


async def test_room_is_given_back_whatever_becomes_of_a_body():
    class Broken(Pieces):
        async def read(self):
            raise ProxyError(502, Flag.UPSTREAM_DISCONNECT, "http_response_incomplete", "it broke off")

    coded = gzip.compress(b"nothing of interest")
    filter_ = ReflectionFilter(1000, [].append, len(coded))
    for kind in (Broken, Pieces, Pieces):
        request = Request(b"GET", b"https", Authority("api.example", 443, False), b"/", [], BytesBody())
        exchange = Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 1000), request, 0.0, "plain")
        exchange.secrets = (SECRET,)
        response = exchange.response = Response(200, list(GZIPPED), kind(coded, length=len(coded)))
        with suppress(ProxyError):
            await filter_.response(exchange)
    assert response.headers == GZIPPED


async def test_trailers_of_http2_are_masked_behind_a_body_that_is_not_searched():
    body = Pieces(b"ab", length=2_000_000, trailers=[(b"x-echo", SECRET)])
    response, _, _ = await reflect(body, version=20)
    assert response.body.trailers == [(b"x-echo", STARS)]


async def test_a_part_of_a_coded_body_is_passed_on_itself():
    body = Pieces(b"ab", length=2)
    response, _, _ = await reflect(body, headers=GZIPPED, status=206)
    assert response.body is body


async def test_a_digest_of_bytes_that_were_masked_is_taken_away():
    headers = [*TEXT, (b"etag", b'"1"'), (b"digest", b"sha-256=x")]
    response, _, _ = await reflect(BytesBody(SECRET), headers=headers)
    assert response.headers == DECODED


@pytest.mark.parametrize(
    ("headers", "make"),
    [
        (GZIPPED, lambda: BytesBody(b"not gzip at all")),
        (GZIPPED, lambda: Pieces(b"not gzip at all", length=15)),
        (GZIPPED, lambda: Pieces(b"not gzip at all")),
        (GZIPPED, lambda: BytesBody(gzip.compress(bytes(20_000_000)))),
        ([*TEXT, (b"content-encoding", b"compress")], lambda: Pieces(b"x")),
    ],
    ids=["at hand", "on its way", "stream", "bomb", "unknown coding"],
)
async def test_a_coded_body_that_cannot_be_searched_is_refused(headers, make):
    with pytest.raises(ProxyError, match="must be searched for secrets") as caught:
        await reflect(make(), headers=headers, limit=10**9)
    assert caught.value.status == 502
    assert caught.value.flag is Flag.UPSTREAM_PROTOCOL
    assert caught.value.error == "http_response_content_coding"


async def test_a_stream_that_turns_bad_is_cut_and_given_up():
    coded = gzip_pieces(b"data: one\n\n", b"more")
    body = Pieces(coded[0], b"garbage here", length=None)
    with pytest.raises(ProxyError, match="its gzip coding is malformed"):
        await reflect(body, headers=GZIPPED)
    assert body.abandoned


async def test_a_coded_stream_that_breaks_off_is_cut():
    with pytest.raises(ProxyError, match="breaks off"):
        await reflect(Pieces(gzip_pieces(b"data: one\n\n", b"more")[0]), headers=GZIPPED)
