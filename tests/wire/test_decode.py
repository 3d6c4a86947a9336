"""Body decoders: one big chunk equals any other chunking, and both ends of a body are exact."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.core.headers import Headers
from proxyd.wire import encode
from proxyd.wire.decode import MAX_CHUNK_LINE, ChunkedDecoder, CloseDecoder, Decoder, LengthDecoder
from tests.wire.vectors import ACCEPTED, CHUNKED, REFUSED, Accepted, Refused


def feed(decoder: Decoder, pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """Return the body and what follows it."""
    body = b""
    rest = b""
    for piece in pieces:
        if decoder.done:
            rest += piece
        else:
            body += decoder.feed(piece)
            rest = decoder.surplus
    return body, rest


def cut(raw: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(raw[at : at + size])
        at += size
    return [piece for piece in (*pieces, raw[at:]) if piece]


def singly(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


BODIES = [row for row in REFUSED if row.name.startswith("chunk_")]
CUTS = st.lists(st.integers(1, 40), max_size=30)
TRAILERS = st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b"]), st.sampled_from([b"", b"1", b"a b"])), max_size=3)


@pytest.mark.parametrize("row", BODIES, ids=lambda row: row.name)
@pytest.mark.parametrize("split", [lambda raw: [raw], singly], ids=["whole", "bytewise"])
def test_malformed_chunked_body_is_refused(row: Refused, split: Callable[[bytes], list[bytes]]) -> None:
    with pytest.raises(ValueError, match=r"."):
        feed(ChunkedDecoder(), split(row.raw.removeprefix(CHUNKED)))


@pytest.mark.parametrize("row", [row for row in ACCEPTED if row.raw.startswith(CHUNKED)], ids=lambda row: row.name)
@pytest.mark.parametrize("split", [lambda raw: [raw], singly], ids=["whole", "bytewise"])
def test_tricky_chunked_body_is_decoded(row: Accepted, split: Callable[[bytes], list[bytes]]) -> None:
    decoder = ChunkedDecoder()
    assert feed(decoder, split(row.raw.removeprefix(CHUNKED) + b"next")) == (row.body, b"next")
    assert decoder.done
    assert decoder.trailers == row.trailers


@given(
    parts=st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    trailers=TRAILERS,
    cuts=CUTS,
    surplus=st.binary(max_size=20),
)
@settings(max_examples=200, deadline=None)  # fmt: skip
def test_any_chunking_of_a_chunked_body_is_the_same(
    parts: list[bytes], trailers: Headers, cuts: list[int], surplus: bytes
) -> None:
    raw = b"".join(encode.chunk(part) for part in parts) + encode.last_chunk(trailers) + surplus
    for pieces in ([raw], singly(raw), cut(raw, cuts)):
        decoder = ChunkedDecoder()
        assert feed(decoder, pieces) == (b"".join(parts), surplus)
        assert decoder.done
        assert decoder.trailers == trailers


@given(body=st.binary(max_size=80), surplus=st.binary(max_size=20), cuts=CUTS)
@settings(max_examples=100, deadline=None)
def test_any_chunking_of_a_counted_body_is_the_same(body: bytes, surplus: bytes, cuts: list[int]) -> None:
    raw = body + surplus
    for pieces in ([raw], singly(raw), cut(raw, cuts)):
        decoder = LengthDecoder(len(body))
        assert feed(decoder, [piece for piece in pieces if piece]) == (body, surplus)
        assert decoder.done


@given(
    raw=st.binary(max_size=120) | st.text("0123abAB;\r\n \0x", max_size=40).map(lambda text: text.encode()), cuts=CUTS
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_mean_the_same_whole_and_in_pieces(raw: bytes, cuts: list[int]) -> None:
    outcomes = []
    for pieces in ([raw], singly(raw), cut(raw, cuts)):
        decoder = ChunkedDecoder()
        try:
            body, rest = feed(decoder, pieces)
            outcomes.append((body, rest) if decoder.done else "unfinished")
        except ValueError:
            outcomes.append("refused")
    # a fault that a later byte proves may still be open where the bytes end
    assert len({str(outcome) for outcome in outcomes}) == 1, outcomes


def test_an_early_end_is_refused_where_the_end_is_known() -> None:
    counted = LengthDecoder(5)
    counted.feed(b"abc")
    with pytest.raises(ValueError, match="2 bytes before"):
        counted.finish()
    chunked = ChunkedDecoder()
    chunked.feed(b"5\r\nabc")
    with pytest.raises(ValueError, match="within a chunked body"):
        chunked.finish()
    until_close = CloseDecoder()
    assert until_close.feed(b"abc") == b"abc"
    until_close.finish()
    assert until_close.done


def test_a_body_of_no_bytes_is_done_at_once() -> None:
    assert LengthDecoder(0).done
    assert not ChunkedDecoder().done


def test_size_line_and_extensions_have_a_bound() -> None:
    decoder = ChunkedDecoder()
    fits = b"1;" + b"a" * (MAX_CHUNK_LINE - 2)
    assert decoder.feed(fits + b"\r\nx\r\n") == b"x"
    with pytest.raises(ValueError, match="size line"):
        feed(decoder, singly(b"1;" + b"a" * MAX_CHUNK_LINE))


def test_a_huge_chunk_is_passed_on_without_being_held() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"fffffffff\r\n")
    piece = bytes(1024)
    assert decoder.feed(piece) is piece
