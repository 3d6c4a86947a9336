"""The codec and the h2 library as peers: whatever the order of pieces, windows and resets, bytes and ends agree."""

import random
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import Code, Codec, Data, Head, Reset, Trailers
from proxyd.wire.http2_fields import Fields, request_fields, response_fields, trailer_fields

LIMITS = Http2Limits(stream_window=20_000, connection_window=70_000)
TRAILERS = [(b"x-sum", b"1")]


class Ours:
    def __init__(self, *, client: bool) -> None:
        self.codec = Codec(client=client, limits=LIMITS, clock=lambda: 0.0)
        self.codec.begin()
        self.got: dict[int, bytearray] = {}
        self.ends: dict[int, str] = {}
        self.take = self.codec.take
        self.open = self.codec.open

    def head(self, stream: int, fields: Fields, *, ended: bool) -> None:
        self.codec.head(stream, fields, ended=ended)

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        self.codec.data(stream, data, ended=ended)

    def room(self, stream: int) -> int:
        return self.codec.room(stream)

    def reset(self, stream: int) -> None:
        self.codec.reset(stream, Code.CANCEL)

    def hear(self, data: bytes) -> None:
        for event in self.codec.receive(data):
            if isinstance(event, Head):
                self.got.setdefault(event.stream, bytearray())
                if event.ended:
                    self.ends[event.stream] = "end"
            elif isinstance(event, Data):
                self.got[event.stream] += event.data
                self.codec.credit(event.stream, event.credit)
                if event.ended:
                    self.ends[event.stream] = "end"
            elif isinstance(event, Trailers):
                assert event.fields == TRAILERS
                self.ends[event.stream] = "end"
            elif isinstance(event, Reset):
                self.ends[event.stream] = "reset"


class Theirs:
    def __init__(self, *, client: bool) -> None:
        config = h2.config.H2Configuration(client_side=client, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.got: dict[int, bytearray] = {}
        self.ends: dict[int, str] = {}
        self.take = self.h2.data_to_send
        self.open = self.h2.get_next_available_stream_id

    def head(self, stream: int, fields: Fields, *, ended: bool) -> None:
        self.h2.send_headers(stream, [(name, value) for name, value, _ in fields], end_stream=ended)

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        self.h2.send_data(stream, data, end_stream=ended, pad_length=len(data) % 7 or None)

    def room(self, stream: int) -> int:
        room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
        return max(0, room - 8)

    def reset(self, stream: int) -> None:
        self.h2.reset_stream(stream, 8)

    def hear(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            stream: Any = getattr(event, "stream_id", 0)
            if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
                self.got.setdefault(stream, bytearray())
            elif isinstance(event, h2.events.DataReceived):
                self.got[stream] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.StreamEnded):
                self.ends[stream] = "end"
            elif isinstance(event, h2.events.StreamReset):
                self.ends[stream] = "reset"


class _Message:
    """What one side says on a stream, and how far it has come."""

    def __init__(self, dice: random.Random, fields: Fields) -> None:
        self.fields = fields
        self.body = dice.randbytes(dice.choice([0, 0, 1, 100, 5000, 60_000]))
        self.trailers = dice.random() < 0.3
        self.sent = -1
        self.over = False

    def advance(self, side: Ours | Theirs, stream: int, dice: random.Random) -> None:
        if self.sent < 0:
            self.sent = 0
            self.over = not self.body and not self.trailers
            side.head(stream, self.fields, ended=self.over)
        elif self.sent < len(self.body):
            size = min(side.room(stream), dice.choice([1, 500, 20_000]), len(self.body) - self.sent)
            if size > 0:
                piece = self.body[self.sent : self.sent + size]
                self.sent += size
                self.over = self.sent == len(self.body) and not self.trailers
                side.data(stream, piece, ended=self.over)
        else:
            self.over = True
            side.head(stream, trailer_fields(TRAILERS), ended=True)


def _pass(sender: Ours | Theirs, receiver: Ours | Theirs, dice: random.Random) -> None:
    data = sender.take()
    while data:
        size = dice.choice([len(data), len(data), 9, 1000])
        receiver.hear(data[:size])
        data = data[size:]


@pytest.mark.parametrize("ours", ["client", "server"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_bytes_and_ends_agree(seed: int, ours: str) -> None:
    dice = random.Random(seed)
    client: Ours | Theirs = Ours(client=True) if ours == "client" else Theirs(client=True)
    server: Ours | Theirs = Theirs(client=False) if ours == "client" else Ours(client=False)
    _pass(client, server, dice)
    _pass(server, client, dice)
    up: dict[int, _Message] = {}
    down: dict[int, _Message] = {}
    cut: set[int] = set()
    for _ in range(dice.randrange(1, 12)):
        stream = client.open()
        up[stream] = _Message(dice, request_fields(b"POST", b"https", b"a.test", b"/%d" % stream, [(b"x", b"y")]))
        down[stream] = _Message(dice, response_fields(200, [(b"server", b"x")]))
        up[stream].advance(client, stream, dice)
    for _ in range(100_000):
        _pass(client, server, dice)
        _pass(server, client, dice)
        running = [stream for stream in up if not (up[stream].over and down[stream].over) and stream not in cut]
        if not running:
            break
        stream = dice.choice(running)
        side, message = (client, up[stream]) if dice.random() < 0.5 else (server, down[stream])
        if dice.random() < 0.005:
            side.reset(stream)
            cut.add(stream)
        elif not message.over:
            message.advance(side, stream, dice)
    _pass(client, server, dice)
    _pass(server, client, dice)
    for stream in up:
        if stream in cut:
            assert "reset" in (client.ends.get(stream), server.ends.get(stream))
            assert up[stream].body.startswith(bytes(server.got[stream]))
        else:
            assert server.got[stream] == up[stream].body
            assert client.got[stream] == down[stream].body
            assert (client.ends[stream], server.ends[stream]) == ("end", "end")
    own = client if isinstance(client, Ours) else server
    assert isinstance(own, Ours)
    assert own.codec.streams == 0
