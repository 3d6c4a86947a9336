"""What a peer may not do without end: each flood is met by its number, and ordinary traffic earns its keep."""

from collections.abc import Callable

import pytest

from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import PREFACE, Code, Codec, Head, Http2Error, Reset
from proxyd.wire.http2_guard import FloodError, Guard

LIMITS = Http2Limits()
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
GET = bytes.fromhex("828684") + b"\x41\x01a"
"""GET http / with :authority a."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _server(clock: Callable[[], float] | None = None) -> Codec:
    codec = Codec(client=False, limits=LIMITS, clock=clock or Clock())
    codec.begin()
    codec.receive(PREFACE + SETTINGS)
    codec.take()
    return codec


def _ends(codec: Codec, data: bytes) -> Http2Error:
    """The bytes end the connection, with a GOAWAY that says why."""
    with pytest.raises(Http2Error) as caught:
        codec.receive(data)
    assert codec.take()[-8:][4:] == int(caught.value.code).to_bytes(4, "big")
    return caught.value


PING = frame(6, 0, 0, bytes(8))
FLOODS = {  # SETTINGS came with the preface
    "PING": (PING, LIMITS.control_frames),
    "SETTINGS": (SETTINGS, LIMITS.control_frames),
    "unknown frames": (frame(0x2A, 0, 0, b"x"), LIMITS.control_frames),
    "ACKs of no PING": (frame(6, 1, 0, bytes(8)), LIMITS.control_frames),
    "PRIORITY": (frame(2, 0, 1, b"\0\0\0\0\x10"), LIMITS.priorities + 1),
    "WINDOW_UPDATE": (frame(8, 0, 0, b"\0\0\0\x01"), 6),
}


@pytest.mark.parametrize(("data", "most"), FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_ends_the_connection_calmly(data: bytes, most: int) -> None:
    codec = _server()
    for _ in range(most - 1):
        codec.receive(data)
        codec.take()
    assert _ends(codec, data).code == Code.ENHANCE_YOUR_CALM


def test_a_flood_within_one_read_makes_no_answers() -> None:
    codec = _server()
    with pytest.raises(Http2Error):
        codec.receive(PING * 3000)
    assert len(codec.take()) < 40


def test_empty_data_frames_are_taken_one_at_a_time() -> None:
    codec = _server()
    codec.receive(frame(1, 0x4, 1, GET))
    codec.receive(frame(0, 0, 1) + frame(0, 0, 1, b"x") + frame(0, 0, 1))
    assert _ends(codec, frame(0, 0, 1)).code == Code.ENHANCE_YOUR_CALM


def test_padding_does_not_fill_a_data_frame() -> None:
    codec = _server()
    codec.receive(frame(1, 0x4, 1, GET))
    padded = frame(0, 0x8, 1, b"\x05" + bytes(5))
    codec.receive(padded)
    assert _ends(codec, padded).code == Code.ENHANCE_YOUR_CALM


def test_continuation_frames_are_counted() -> None:
    codec = _server()
    codec.receive(frame(1, 0, 1, GET))
    for _ in range(LIMITS.continuations):
        codec.receive(frame(9, 0, 1))
    assert _ends(codec, frame(9, 0, 1)).code == Code.ENHANCE_YOUR_CALM


def test_a_field_section_has_a_size_before_it_is_decoded() -> None:
    codec = _server()
    literal = b"\x00\x01a\x7f\x81\x7b" + bytes(15_872 + 128)
    codec.receive(frame(1, 0, 1, GET))
    for _ in range(7):
        codec.receive(frame(9, 0, 1, literal))
    assert _ends(codec, frame(9, 0x4, 1, literal)).code == Code.ENHANCE_YOUR_CALM


def test_an_hpack_bomb_ends_the_connection() -> None:
    codec = _server()
    codec.receive(frame(1, 0x5, 1, GET + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968))
    assert _ends(codec, frame(1, 0x5, 3, GET + b"\xbe" * 16_000)).code == Code.ENHANCE_YOUR_CALM


def test_settings_of_many_entries_end_the_connection() -> None:
    entry = b"\0\x04\0\0\xff\xff"
    codec = _server()
    codec.receive(frame(4, 0, 0, entry * 32))
    assert _ends(codec, frame(4, 0, 0, entry * 33)).code == Code.ENHANCE_YOUR_CALM


def test_rapid_resets_end_the_connection() -> None:
    codec = _server()
    stream = 1
    for _ in range(LIMITS.resets):
        events = codec.receive(frame(1, 0x5, stream, GET) + frame(3, 0, stream, b"\0\0\0\x08"))
        assert [type(event) for event in events] == [Head, Reset]
        stream += 2
    assert _ends(codec, frame(1, 0x5, stream, GET) + frame(3, 0, stream, b"\0\0\0\x08")).code == Code.ENHANCE_YOUR_CALM


def test_rapid_resets_within_one_read_do_not_all_become_requests() -> None:
    codec = _server()
    burst = b"".join(frame(1, 0x5, stream, GET) + frame(3, 0, stream, b"\0\0\0\x08") for stream in range(1, 4000, 2))
    assert _ends(codec, burst).code == Code.ENHANCE_YOUR_CALM
    assert codec.streams == 0


def test_streams_that_end_as_they_should_outweigh_resets() -> None:
    codec = _server()
    for stream in range(1, 8 * LIMITS.resets, 4):
        codec.receive(frame(1, 0x5, stream, GET) + frame(1, 0x5, stream + 2, GET))
        codec.head(stream, [(b":status", b"204", False)], ended=True)
        codec.receive(frame(3, 0, stream + 2, b"\0\0\0\x08"))
        codec.take()


def test_time_outweighs_resets() -> None:
    clock = Clock()
    codec = _server(clock)
    for stream in range(1, 8 * LIMITS.resets, 2):
        clock.now += 1 / 30
        codec.receive(frame(1, 0x5, stream, GET) + frame(3, 0, stream, b"\0\0\0\x08"))


def test_having_the_server_reset_counts_as_well() -> None:
    codec = _server()
    for stream in range(1, 2 * LIMITS.resets + 3, 2):
        codec.receive(frame(1, 0x5, stream, GET))
        codec.reset(stream, Code.PROTOCOL_ERROR)
        codec.take()
    assert _ends(codec, PING).code == Code.ENHANCE_YOUR_CALM


def test_streams_above_the_limit_are_refused_one_by_one() -> None:
    codec = _server()
    heads = b"".join(frame(1, 0x4, stream, GET) for stream in range(1, 2 * LIMITS.streams + 1, 2))
    assert len(codec.receive(heads)) == LIMITS.streams == codec.streams
    above = 2 * LIMITS.streams + 1
    assert codec.receive(frame(1, 0x4, above, GET) + frame(0, 0x1, above, b"x")) == []
    assert codec.take() == frame(3, 0, above, b"\0\0\0\x07")
    codec.reset(1, Code.CANCEL)
    assert len(codec.receive(frame(1, 0x4, above + 2, GET))) == 1


def test_streams_above_the_limit_without_end_end_the_connection() -> None:
    codec = _server()
    heads = b"".join(frame(1, 0x4, stream, GET) for stream in range(1, 2 * (LIMITS.streams + LIMITS.resets) + 3, 2))
    assert _ends(codec, heads).code == Code.ENHANCE_YOUR_CALM


def test_pings_beside_data_are_no_flood() -> None:
    codec = _server()
    codec.receive(frame(1, 0x4, 1, GET))
    for _ in range(3 * LIMITS.control_frames):
        codec.receive(PING + frame(0, 0, 1, b"x"))
        codec.take()


def test_window_updates_for_data_that_was_sent_are_no_flood() -> None:
    codec = _server()
    codec.receive(frame(1, 0x5, 1, GET))
    codec.head(1, [(b":status", b"200", False)], ended=False)
    for _ in range(100):
        codec.data(1, b"x", ended=False)
        codec.receive((frame(8, 0, 0, b"\0\0\0\x01") + frame(8, 0, 1, b"\0\0\0\x01")) * 5)


def test_two_window_updates_beside_each_message_that_comes_are_no_flood() -> None:
    guard = Guard(LIMITS, Clock())
    guard.frame(1, 0, 10)
    for _ in range(1000):
        guard.frame(0, 0, 11)
        guard.frame(8, 0, 4)
        guard.frame(8, 0, 4)
    for _ in range(7):
        guard.frame(8, 0, 4)
    with pytest.raises(FloodError):
        guard.frame(8, 0, 4)


def test_a_keep_alive_ping_may_come_for_ever() -> None:
    clock = Clock()
    guard = Guard(LIMITS, clock)
    for _ in range(100_000):
        clock.now += 1
        guard.frame(6, 0, 8)


def test_the_words_name_the_frames() -> None:
    guard = Guard(LIMITS, Clock())
    for _ in range(5):
        guard.frame(8, 0, 4)
    with pytest.raises(FloodError, match="WINDOW_UPDATE"):
        guard.frame(8, 0, 4)
