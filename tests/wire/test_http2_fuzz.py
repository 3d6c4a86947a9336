"""Whatever comes, the codec says Http2Error or goes on, holds little, and sends frames that are frames."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import PREFACE, Codec, Data, Head, Http2Error, Trailers
from proxyd.wire.http2_fields import request_fields, response_fields
from tests.wire.http2_frames import SETTINGS, block, frame, frames, setting

LIMITS = Http2Limits()
REQUEST = block((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"))
RESPONSE = block((b":status", b"200"))

_PAYLOADS = st.one_of(
    st.just(b""),
    st.sampled_from([REQUEST, RESPONSE, block((b"x", b"y")), REQUEST[:9], b"\x03" + REQUEST + bytes(3)]),
    st.sampled_from([bytes(4), b"\0\0\0\x01", b"\x7f\xff\xff\xff", b"\xff" * 4, bytes(5), bytes(8), bytes(16_384)]),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0, 1, 2, 4096, 16_384, 65_535, 2**31 - 1, 2**32 - 1]))).map(
        lambda pairs: b"".join(setting(*pair) for pair in pairs)
    ),
    st.binary(max_size=40),
)
FRAMES = st.builds(
    frame,
    st.one_of(st.integers(0, 10), st.sampled_from([0, 1, 1, 1, 8])),
    st.sampled_from([0, 1, 4, 4, 5, 5, 8, 0x0D, 0x20, 0x2D, 0xFF]),
    st.sampled_from([0, 0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1, 2**32 - 1]),
    _PAYLOADS,
)


def _codec(*, client: bool) -> Codec:
    codec = Codec(client=client, limits=LIMITS, clock=lambda: 0.0)
    codec.begin()
    if client:
        for _ in range(2):
            codec.head(codec.open(), request_fields(b"POST", b"http", b"a", b"/", []), ended=False)
    codec.take()
    codec.receive((b"" if client else PREFACE) + frame(SETTINGS, 0, 0))
    return codec


def _play(codec: Codec, writes: Iterable[bytes], *, client: bool) -> None:
    """Hear all of it, and answer as a proxy would, until the connection ends."""
    for data in writes:
        try:
            events = codec.receive(data)
        except Http2Error:
            assert any(kind == 7 for kind, *_ in frames(codec.take()))
            return
        for event in events:
            if isinstance(event, Data):
                codec.credit(event.stream, event.credit)
            if not client and isinstance(event, Head | Data | Trailers):
                try:
                    if isinstance(event, Head):
                        codec.head(event.stream, response_fields(200, []), ended=False)
                    size = min(codec.room(event.stream), 100)
                    ended = isinstance(event, Trailers) or event.ended
                    codec.data(event.stream, bytes(size), ended=ended)
                    if ended:
                        codec.forget(event.stream)
                except KeyError:
                    codec.forget(event.stream)
        said = codec.take()
        assert sum(9 + len(payload) for *_, payload in frames(said)) == len(said)
        assert codec.streams <= LIMITS.streams


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_frames_in_any_order(data: st.DataObject, client: bool) -> None:
    sent = data.draw(st.lists(FRAMES, max_size=25))
    _play(_codec(client=client), sent, client=client)


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_frames_cut_anywhere(data: st.DataObject, client: bool) -> None:
    whole = b"".join(data.draw(st.lists(FRAMES, max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    _play(_codec(client=client), pieces, client=client)


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
@settings(max_examples=200, deadline=None)
@given(writes=st.lists(st.binary(max_size=60), max_size=10))
def test_noise(writes: list[bytes], client: bool) -> None:
    _play(_codec(client=client), writes, client=client)


@settings(max_examples=100, deadline=None)
@given(writes=st.lists(st.binary(max_size=30), max_size=5))
def test_noise_instead_of_a_preface(writes: list[bytes]) -> None:
    codec = Codec(client=False, limits=LIMITS, clock=lambda: 0.0)
    codec.begin()
    _play(codec, writes, client=False)
