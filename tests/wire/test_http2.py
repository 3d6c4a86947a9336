"""HTTP/2 framing: both sides against each other, and what a proxy needs besides."""

import pytest

from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import (
    LAST_STREAM,
    PREFACE,
    Code,
    Codec,
    Data,
    Going,
    Head,
    Http2Error,
    Pong,
    Reset,
    Room,
    Settled,
    Trailers,
)

REQUEST = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/x")]
RESPONSE = [(b":status", b"200"), (b"x", b"y")]
SENT = [(*field, False) for field in REQUEST]
ANSWER = [(*field, False) for field in RESPONSE]


class Pair:
    """A client and a server without sockets."""

    def __init__(self, limits: Http2Limits | None = None) -> None:
        limits = limits or Http2Limits()
        self.client = Codec(client=True, limits=limits)
        self.server = Codec(client=False, limits=limits)
        self.client.begin()
        self.server.begin()
        self.settle()

    def up(self) -> list[object]:
        return list(self.server.receive(self.client.take()))

    def down(self) -> list[object]:
        return list(self.client.receive(self.server.take()))

    def settle(self) -> None:
        for _ in range(3):
            self.up()
            self.down()


def test_an_exchange_with_bodies_and_trailers_both_ways() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=False)
    pair.client.data(stream, b"hello", ended=False)
    pair.client.trailers(stream, [(b"t", b"1", False)])
    assert pair.up() == [
        Head(stream, REQUEST, ended=False),
        Data(stream, b"hello", 5, ended=False),
        Trailers(stream, [(b"t", b"1")]),
    ]
    assert pair.client.streams == 1
    pair.server.head(stream, [(b":status", b"103", False)], ended=False)
    pair.server.head(stream, ANSWER, ended=False)
    pair.server.data(stream, b"bye", ended=True)
    assert pair.down() == [
        Head(stream, [(b":status", b"103")], ended=False),
        Head(stream, RESPONSE, ended=False),
        Data(stream, b"bye", 3, ended=True),
    ]
    assert pair.client.streams == 0


def test_bytes_may_come_one_by_one() -> None:
    client, server = Codec(client=True, limits=Http2Limits()), Codec(client=False, limits=Http2Limits())
    client.begin()
    client.head(client.open(), SENT, ended=True)
    events = []
    for byte in client.take():
        events += server.receive(bytes([byte]))
    assert events[-1] == Head(1, REQUEST, ended=True)
    assert Settled() in events


def test_what_is_no_preface_ends_the_connection() -> None:
    server = Codec(client=False, limits=Http2Limits())
    server.receive(PREFACE[:5])
    with pytest.raises(Http2Error) as caught:
        server.receive(b"GET / HTTP/1.1\r\n")
    assert caught.value.code == Code.PROTOCOL_ERROR
    assert server.take()[3] == 7  # GOAWAY


def test_room_is_the_smaller_window_and_one_frame_at_most() -> None:
    pair = Pair(Http2Limits(stream_window=20_000, connection_window=70_000))
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=False)
    assert pair.client.room(stream) == 16_384
    pair.client.data(stream, bytes(16_384), ended=False)
    assert pair.client.room(stream) == 20_000 - 16_384
    pair.client.data(stream, bytes(20_000 - 16_384), ended=False)
    assert pair.client.room(stream) == 0
    taken = [event for event in pair.up() if isinstance(event, Data)]
    assert not pair.server.credit(stream, 9_999)
    assert pair.server.credit(stream, 1)
    assert sum(event.credit for event in taken) == 20_000
    assert pair.down() == [Room(stream)]
    assert pair.client.room(stream) == 10_000


def test_the_connections_window_is_given_back_for_streams_that_are_over() -> None:
    pair = Pair(Http2Limits(stream_window=16_000, connection_window=66_000))
    for _ in range(20):
        stream = pair.client.open()
        pair.client.head(stream, SENT, ended=False)
        assert pair.client.room(stream) == 16_000
        pair.client.data(stream, bytes(16_000), ended=True)
        pair.up()
        pair.server.head(stream, ANSWER, ended=True)
        pair.server.forget(stream)
        pair.server.credit(stream, 16_000)
        pair.down()


def test_streams_go_on_after_a_goaway_from_the_peer() -> None:
    pair = Pair()
    first, second = pair.client.open(), pair.client.open()
    pair.client.head(first, SENT, ended=True)
    pair.up()
    second = pair.client.open()
    pair.client.head(second, SENT, ended=False)
    pair.server.going(final=False)
    assert pair.down() == [Going(LAST_STREAM, 0)]
    pair.up()
    pair.server.going()
    pair.server.head(first, ANSWER, ended=True)
    assert pair.down() == [Going(second, 0), Head(first, RESPONSE, ended=True)]
    pair.client.data(second, b"more", ended=True)
    assert pair.up() == [Data(second, b"more", 4, ended=True)]


def test_a_final_goaway_goes_out_once() -> None:
    pair = Pair()
    pair.server.going()
    pair.server.going(Code.INTERNAL_ERROR)
    assert pair.down() == [Going(0, 0)]


def test_a_goaway_within_other_frames_is_found_in_its_place() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=True)
    pair.up()
    pair.server.head(stream, ANSWER, ended=False)
    pair.server.going(Code.ENHANCE_YOUR_CALM, detail=b"calm")
    pair.server.data(stream, b"x", ended=True)
    assert pair.down() == [
        Head(stream, RESPONSE, ended=False),
        Going(stream, Code.ENHANCE_YOUR_CALM),
        Data(stream, b"x", 1, ended=True),
    ]


def test_resets_and_pings_come_through() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=False)
    pair.up()
    pair.client.reset(stream, Code.CANCEL)
    pair.client.ping(b"01234567")
    assert pair.up() == [Reset(stream, Code.CANCEL)]
    assert pair.down() == [Pong(b"01234567")]
    with pytest.raises(KeyError):
        pair.server.head(stream, ANSWER, ended=True)
    with pytest.raises(KeyError):
        pair.server.data(stream, b"x", ended=True)
    pair.server.reset(stream, Code.CANCEL)
    assert pair.server.take() == b""


def test_a_frame_longer_than_promised_ends_the_connection() -> None:
    server = Codec(client=False, limits=Http2Limits())
    server.receive(PREFACE + b"\0\0\0\x04\0\0\0\0\0")
    with pytest.raises(Http2Error) as caught:
        server.receive(b"\x00\x40\x01\x00\x00\x00\x00\x00\x01")
    assert caught.value.code == Code.FRAME_SIZE_ERROR


def _set(*pairs: tuple[int, int]) -> bytes:
    payload = b"".join(code.to_bytes(2, "big") + value.to_bytes(4, "big") for code, value in pairs)
    return len(payload).to_bytes(3, "big") + b"\x04\0\0\0\0\0" + payload


def test_a_large_head_goes_in_frames_that_the_peer_takes() -> None:
    pair = Pair()
    stream = pair.client.open()
    long = (b"x-long", b"v" * 40_000)
    pair.client.head(stream, [*SENT, (*long, False)], ended=True)
    assert pair.up() == [Head(stream, [*REQUEST, long], ended=True)]
    assert pair.server.streams == 1


def test_the_peers_settings_are_kept() -> None:
    pair = Pair()
    assert pair.client.max_streams == Http2Limits().streams
    assert pair.client.receive(_set((3, 7), (5, 2**24 - 1), (4, 2**20), (1, 0), (0x99, 1))) == [Settled(), Room(0)]
    assert pair.client.max_streams == 7
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=False)
    assert pair.client.room(stream) == 64 * 1024
    pair.client.receive(b"\0\0\4\x08\0\0\0\0\0\0\x10\0\0")
    assert pair.up()[0] == Head(stream, REQUEST, ended=False)


def test_a_window_that_settings_shrink_may_become_negative() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=False)
    pair.client.data(stream, bytes(16_384), ended=False)
    pair.client.receive(_set((4, 100)))
    assert pair.client.room(stream) == 0
    assert pair.client.receive(b"\0\0\4\x08\0\0\0\0\x01\0\0\x40\0") == [Room(stream)]
    assert pair.client.room(stream) == 100


def test_what_comes_late_on_a_stream_that_was_reset_is_ignored() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=False)
    pair.up()
    pair.server.reset(stream, Code.CANCEL)
    pair.client.data(stream, b"late", ended=False)
    pair.client.trailers(stream, [(b"t", b"1", False)])
    assert pair.up() == []
    assert pair.down() == [Reset(stream, Code.CANCEL)]
    assert (pair.client.streams, pair.server.streams) == (0, 0)


def test_a_client_that_was_told_goodbye_is_refused_what_it_opens() -> None:
    pair = Pair()
    first = pair.client.open()
    pair.client.head(first, SENT, ended=True)
    pair.up()
    pair.server.going()
    second = pair.client.open()
    pair.client.head(second, SENT, ended=True)
    assert pair.up() == []
    pair.server.head(first, ANSWER, ended=True)
    assert pair.down() == [Going(first, 0), Reset(second, Code.REFUSED_STREAM), Head(first, RESPONSE, ended=True)]


def test_numbers_of_streams_run_out() -> None:
    client = Codec(client=True, limits=Http2Limits())
    client.begin()
    client.head(LAST_STREAM, SENT, ended=True)
    with pytest.raises(OverflowError):
        client.open()


def test_nothing_is_sent_on_a_stream_whose_own_side_has_ended() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.head(stream, SENT, ended=True)
    with pytest.raises(KeyError):
        pair.client.data(stream, b"x", ended=True)
    with pytest.raises(KeyError):
        pair.client.trailers(stream, [])
