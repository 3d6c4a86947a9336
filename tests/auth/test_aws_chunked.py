"""Chunks that are signed anew: AWS's published example, pieces of any size, and what is no such body."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth import aws_chunked
from proxyd.auth.aws_chunked import Chain, Resigned
from proxyd.auth.sigv4 import canonical_request
from proxyd.core.errors import ProxyError

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


async def resigned(data, size=10_000):
    made = Resigned(Pieces(data, size))
    signatures = chain()
    signatures.begin(CANONICAL)
    made.follow(signatures)
    found = b""
    while piece := await made.read():
        found += piece
    return found


async def test_the_published_example():
    assert chain().begin(CANONICAL) == b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    found = await resigned(framed(b"a" * 65536, b"a" * 1024))
    assert re.findall(rb"chunk-signature=([0-9a-f]+)", found) == [
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]


@settings(max_examples=100, deadline=None)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=200), max_size=4),
    size=st.integers(1, 300),
    trailers=st.lists(st.tuples(st.sampled_from([b"x-amz-checksum-crc32", b"x-b"]), st.just(b"AAAA==")), max_size=2),
)
async def test_frames_keep_their_sizes_whatever_pieces_they_come_in(chunks, size, trailers):
    data = framed(*chunks, trailers=trailers)
    found = await resigned(data, size)
    assert len(found) == len(data)
    blank = re.sub(rb"signature[=:][0-9a-f]{64}", b"", data)
    assert re.sub(rb"signature[=:][0-9a-f]{64}", b"", found) == blank
    assert found == await resigned(data, 10_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"5\r\nabcde\r\n0\r\n\r\n",
        framed(b"abc")[:-20],
        framed(b"abc") + b"more",
        framed(b"abc").replace(b"3;", b"2;"),
        b"x" * 100_000,
        b"0;chunk-signature=" + b"0" * 64 + b"\r\nno trailer\r\n\r\n",
    ],
    ids=["empty", "unsigned", "cut", "surplus", "wrong size", "no line", "bad trailer"],
)
async def test_what_is_no_such_body_is_refused(data):
    with pytest.raises(ProxyError) as caught:
        await resigned(data)
    assert caught.value.status == 400


async def test_a_chunk_has_a_bound(monkeypatch):
    monkeypatch.setattr(aws_chunked, "MAX_CHUNK", 100)
    with pytest.raises(ProxyError) as caught:
        await resigned(framed(b"x" * 101))
    assert caught.value.status == 413


def test_the_seed_covers_what_is_sent():
    canonical, names = canonical_request(
        b"PUT", b"/b/k", b"s3.amazonaws.com", [(b"x-amz-date", b"d")], b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", is_s3=True
    )
    assert names == b"host;x-amz-date"
    assert canonical.endswith(b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
