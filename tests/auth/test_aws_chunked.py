"""Chunks that are signed anew: AWS's published example, pieces of any size, and what is no such body."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth import aws_chunked
from proxyd.auth.aws_chunked import Chain, Resigned, resigned
from proxyd.auth.sigv4 import canonical_request
from proxyd.core.errors import ProxyError
from proxyd.core.message import BytesBody

KEY = bytes.fromhex("dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378")
"""AWS4 + wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY, 20130524, us-east-1, s3."""

CANONICAL = b"""PUT
/examplebucket/chunkObject.txt

content-encoding:aws-chunked
content-length:66824
host:s3.amazonaws.com
x-amz-content-sha256:STREAMING-AWS4-HMAC-SHA256-PAYLOAD
x-amz-date:20130524T000000Z
x-amz-decoded-content-length:66560
x-amz-storage-class:REDUCED_REDUNDANCY

content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class
STREAMING-AWS4-HMAC-SHA256-PAYLOAD"""


class Pieces:
    """A body that comes in pieces."""

    replayable = False
    trailers = ()

    def __init__(self, data, size):
        self._data = data
        self._size = size
        self.length = len(data)

    async def read(self):
        piece, self._data = self._data[: self._size], self._data[self._size :]
        return piece


def chain():
    return Chain(KEY, "20130524T000000Z", "20130524/us-east-1/s3")


def framed(*chunks, trailers=()):
    data = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), b"0" * 64, chunk) for chunk in chunks)
    data += b"0;chunk-signature=%s\r\n" % (b"0" * 64)
    for name, value in trailers:
        data += name + b":" + value + b"\r\n"
    if trailers:
        data += b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n"
    return data + b"\r\n"


async def passed(data, size=10_000):
    made = Resigned(Pieces(data, size))
    made.follow(begun())
    return await everything(made)


def begun():
    signatures = chain()
    signatures.begin(CANONICAL)
    return signatures


async def everything(body):
    found = b""
    while piece := await body.read():
        found += piece
    return found


async def test_the_published_example():
    assert chain().begin(CANONICAL) == b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    found = await passed(framed(b"a" * 65536, b"a" * 1024))
    assert re.findall(rb"chunk-signature=([0-9a-f]+)", found) == [
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]


@pytest.mark.parametrize("ending", [b"", b"\n"], ids=["as documented", "as minio-go"])
def test_the_published_example_with_trailers(ending):
    signatures = chain()
    signatures._previous = b"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    trailer = (b"x-amz-checksum-crc32c", b"sOO8/Q==" + ending)
    data = framed(b"a" * 65536, b"a" * 1024, trailers=[trailer])
    found = resigned(data, signatures)
    assert re.findall(rb"signature[=:]([0-9a-f]+)", found) == [
        b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
    ]
    assert len(found) == len(data)


@settings(max_examples=100, deadline=None)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=200), max_size=4),
    size=st.integers(1, 300),
    trailers=st.lists(st.tuples(st.sampled_from([b"x-amz-checksum-crc32", b"x-b"]), st.just(b"AAAA==")), max_size=2),
)
async def test_frames_keep_their_sizes_whatever_pieces_they_come_in(chunks, size, trailers):
    data = framed(*chunks, trailers=trailers)
    found = await passed(data, size)
    assert len(found) == len(data)
    blank = re.sub(rb"signature[=:][0-9a-f]{64}", b"", data)
    assert re.sub(rb"signature[=:][0-9a-f]{64}", b"", found) == blank
    assert found == await passed(data, 10_000)


SIGNED = b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n"
LAST = b"0;chunk-signature=" + b"0" * 64 + b"\r\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "should follow"),
        (b"5\r\nabcde\r\n0\r\n\r\n", "no size and signature"),
        (framed(b"abc")[:-20], "should follow"),
        (framed(b"abc")[:-2], "should follow"),
        (framed(b"abc") + b"more", "follows the last chunk"),
        (framed(b"abc").replace(b"3;", b"2;"), "end where it should"),
        (b"x" * 100_000, "a line is longer"),
        (LAST + b"no trailer\r\n" + SIGNED + b"\r\n", "a trailer is malformed"),
        (LAST + b"x-a:1\r\n\r\n", "not signed"),
        (LAST + SIGNED + b"\r\n", "where there is none"),
        (LAST + (b"x-a:" + b"1" * 500 + b"\r\n") * 9 + SIGNED + b"\r\n", "longer than 4096"),
    ],
    ids=[
        "empty",
        "unsigned",
        "cut",
        "no last line",
        "surplus",
        "wrong size",
        "no line",
        "bad trailer",
        "unsigned trailer",
        "no trailer",
        "long trailers",
    ],
)
async def test_what_is_no_such_body_is_refused(data, why):
    with pytest.raises(ProxyError, match=why) as caught:
        await passed(data)
    assert caught.value.status == 400


async def test_a_body_in_memory_is_signed_again_for_each_attempt():
    data = framed(b"abc", b"de")
    made = Resigned(BytesBody(data))
    assert made.replayable
    made.follow(begun())
    first = made.take_ready()
    made.rewind()
    made.follow(begun())
    assert await everything(made) == first == resigned(data, begun())


async def test_a_stream_is_sent_once():
    assert not Resigned(Pieces(framed(b"abc"), 10)).replayable


async def test_what_reads_it_before_it_is_signed_gets_what_the_client_sent():
    data = framed(b"abc")
    assert await everything(Resigned(Pieces(data, 10))) == data


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from([framed(b"abc")[:-2], LAST, SIGNED, b"x-a:1\r\n", b"\r\n", b"\n", b"8;chunk-signature="])
        | st.binary(max_size=90),
        max_size=6,
    ),
    size=st.integers(1, 100),
)
async def test_no_bytes_do_more_than_be_refused(parts, size):
    data = found = b"".join(parts)
    status = 200
    try:
        found = await passed(data, size)
    except ProxyError as error:
        status = error.status
    assert status in (200, 400, 413)
    assert len(found) == len(data)


async def test_a_chunk_has_a_bound(monkeypatch):
    monkeypatch.setattr(aws_chunked, "MAX_CHUNK", 100)
    with pytest.raises(ProxyError) as caught:
        await passed(framed(b"x" * 101))
    assert caught.value.status == 413


def test_the_seed_covers_what_is_sent():
    canonical, names = canonical_request(
        b"PUT", b"/b/k", b"s3.amazonaws.com", [(b"x-amz-date", b"d")], b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", is_s3=True
    )
    assert names == b"host;x-amz-date"
    assert canonical.endswith(b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
