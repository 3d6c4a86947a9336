import gzip
import sys
import zlib
from contextlib import suppress
from itertools import pairwise

import brotli
import pytest
import zstandard
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from proxyd.wire import coding
from proxyd.wire.coding import CodingError, ContentDecoder, read_codings


def bare_deflate(data):
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


def zstd_with_checksum(data):
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


CODERS = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"x-gzip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "bare deflate": (b"deflate", bare_deflate),
    "br": (b"br", brotli.compress),
    "zstd": (b"zstd", zstd.compress),
    "zstd with checksum": (b"zstd", zstd_with_checksum),
}
EVERY_CODER = pytest.mark.parametrize(("name", "code"), CODERS.values(), ids=CODERS)


def decode(codings, *pieces):
    decoder = ContentDecoder(codings)
    decoded = [piece for coded in pieces for piece in decoder.feed(coded)]
    decoder.finish()
    return decoded


def cut(data, cuts):
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@EVERY_CODER
@given(data=st.binary(max_size=2000), repeats=st.integers(1, 200), cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_what_was_coded_comes_back_however_it_is_cut(name, code, data, repeats, cuts):
    whole = data * repeats
    assert b"".join(decode([name], *cut(code(whole), cuts))) == whole


@EVERY_CODER
def test_byte_by_byte_is_the_same(name, code):
    data = bytes(range(256)) * 40
    coded = code(data)
    assert b"".join(decode([name], *(coded[at : at + 1] for at in range(len(coded))))) == data


@EVERY_CODER
def test_pieces_are_bounded_and_more_than_one_byte_gives_is_not_lost(name, code):
    data = bytes(300_000) + b"x" * 500_000
    pieces = decode([name], code(data))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 2 * coding.PIECE_BYTES


@given(
    names=st.lists(st.sampled_from([b"gzip", b"deflate", b"br", b"zstd"]), max_size=4),
    data=st.binary(max_size=500),
    cuts=st.lists(st.integers(0, 1000), max_size=4),
)
def test_codings_are_undone_in_reverse_order(names, data, cuts):
    coded = data
    for name in names:
        coded = CODERS[name.decode()][1](coded)
    assert b"".join(decode(names, *cut(coded, cuts))) == data


def gzip_events(events):
    coder = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return [coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH) for event in events]


def deflate_events(events):
    coder = zlib.compressobj()
    return [coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH) for event in events]


def brotli_events(events):
    coder = brotli.Compressor()
    return [coder.process(event) + coder.flush() for event in events]


def zstd_events(events):
    coder = zstd.ZstdCompressor()
    return [coder.compress(event, zstd.ZstdCompressor.FLUSH_BLOCK) for event in events]


@pytest.mark.parametrize(
    ("name", "code"),
    [(b"gzip", gzip_events), (b"deflate", deflate_events), (b"br", brotli_events), (b"zstd", zstd_events)],
)
def test_what_the_coder_flushed_is_given_at_once(name, code):
    events = [b"data: %d\n\n" % number for number in range(50)] + [b"y" * 300_000]
    decoder = ContentDecoder([name])
    for event, coded in zip(events, code(events), strict=True):
        assert b"".join(decoder.feed(coded)) == event


@EVERY_CODER
def test_a_body_without_a_byte_is_empty(name, code):
    assert decode([name]) == []


@EVERY_CODER
def test_a_body_that_breaks_off_is_refused(name, code):
    coded = code(b"hello, world" * 9)
    for size in range(1, len(coded)):
        with pytest.raises(CodingError):
            decode([name], coded[:size])


@EVERY_CODER
def test_bytes_behind_the_end_are_refused(name, code):
    with pytest.raises(CodingError):
        decode([name], code(b"hello") + b"secret behind it")


@EVERY_CODER
@given(data=st.binary(min_size=1, max_size=300))
def test_noise_is_refused_or_decoded_and_nothing_else(name, code, data):
    with suppress(CodingError):
        decode([name], data)


def inflate(data, window_bits):
    coder = zlib.decompressobj(window_bits)
    whole = coder.decompress(data) + coder.flush()
    if not coder.eof or coder.unused_data:
        raise zlib.error
    return whole


LIBRARIES = {
    "gzip": (CODERS["gzip"], lambda data: inflate(data, 31), zlib.error),
    "deflate": (CODERS["deflate"], lambda data: inflate(data, 15), zlib.error),
    "bare deflate": (CODERS["bare deflate"], lambda data: inflate(data, -15), zlib.error),
    "br": (CODERS["br"], brotli.decompress, brotli.error),
    "zstd": (CODERS["zstd with checksum"], zstd.decompress, zstd.ZstdError),
}


@pytest.mark.parametrize(("coder", "library", "failure"), LIBRARIES.values(), ids=LIBRARIES)
@given(
    data=st.binary(min_size=1, max_size=400),
    place=st.integers(0, 10_000),
    flip=st.integers(1, 255),
    cuts=st.lists(st.integers(0, 1000), max_size=4),
)
def test_a_damaged_body_is_judged_as_its_own_library_does(coder, library, failure, data, place, flip, cuts):
    name, code = coder
    damaged = bytearray(code(data * 3))
    damaged[place % len(damaged)] ^= flip
    damaged = bytes(damaged)
    if name == b"deflate" and place % len(damaged) < 2:
        return  # another byte there makes the one kind of deflate look like the other
    try:
        whole = library(damaged)
    except failure:
        whole = None
    try:
        ours = b"".join(decode([name], *cut(damaged, cuts)))
    except CodingError:
        ours = None
    assert ours == whole


@pytest.mark.parametrize(("name", "code"), [(b"gzip", gzip.compress), (b"zstd", zstd.compress)])
def test_members_in_a_row_are_one_body(name, code):
    assert b"".join(decode([name], code(b"one, ") + code(b""), code(b"two"))) == b"one, two"


@pytest.mark.parametrize(("name", "code"), [(b"gzip", gzip.compress), (b"zstd", zstd.compress)])
def test_a_flood_of_empty_members_is_refused(name, code):
    with pytest.raises(CodingError, match="empty"):
        decode([name], code(b"") * (coding.MAX_EMPTY + 2))


@EVERY_CODER
def test_a_bomb_is_given_up_before_it_is_large(name, code):
    bomb = code(bytes(20 * 2**20))
    decoder = ContentDecoder([name])
    sizes = []
    pieces = (piece for at in range(0, len(bomb), 1000) for piece in decoder.feed(bomb[at : at + 1000]))
    with pytest.raises(CodingError, match="100 times"):
        sizes.extend(len(piece) for piece in pieces)
    assert sum(sizes) <= max(coding.FREE_BYTES, 100 * len(bomb)) + 2 * coding.PIECE_BYTES


def test_a_bomb_within_a_coding_that_swallows_it_is_given_up_as_well():
    skipped = b"\x50\x2a\x4d\x18" + (50 * 2**20).to_bytes(4, "little") + bytes(50 * 2**20)
    with pytest.raises(CodingError, match="100 times"):
        decode([b"zstd", b"gzip"], gzip.compress(skipped))


def test_a_window_larger_than_a_content_coding_may_have_is_refused():
    coder = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    wide = coder.compress(b"x" * 100) + coder.flush()
    with pytest.raises(CodingError):
        decode([b"zstd"], wide)


@pytest.mark.parametrize(
    ("values", "codings"),
    [
        ([], ()),
        ([b"gzip"], (b"gzip",)),
        ([b"GZip , br"], (b"gzip", b"br")),
        ([b"gzip", b"", b"\tzstd "], (b"gzip", b"zstd")),
        ([b"identity"], ()),
        ([b"identity, br"], (b"br",)),
        ([b"aws-chunked,gzip"], (b"gzip",)),
        ([b"UTF-8"], ()),
    ],
)
def test_codings_are_read_in_their_order(values, codings):
    assert read_codings([(b"content-encoding", value) for value in values]) == codings


@pytest.mark.parametrize("value", [b"compress", b"gzip;q=1", b"gzip br", b"dcb", b"\xff"])
def test_an_unknown_coding_is_refused_by_name(value):
    with pytest.raises(CodingError, match="not one that proxyd can read"):
        read_codings([(b"content-encoding", value)])


@pytest.mark.parametrize(("name", "library"), [(b"br", "brotli"), (b"zstd", "backports.zstd")])
def test_a_library_that_is_gone_is_an_error_of_the_body(monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(CodingError, match=library):
        read_codings([(b"content-encoding", name)])


def test_codings_are_bounded():
    five = [(b"content-encoding", b"gzip, gzip, gzip, gzip, gzip")]
    assert len(read_codings(five)) == coding.MAX_CODINGS
    with pytest.raises(CodingError, match="more than 5"):
        read_codings([*five, (b"content-encoding", b"br")])
