"""HTTP/2 framing, both sides, without sockets (RFC 9113): streams, windows, SETTINGS and GOAWAY, frame by frame.

Why not h2 for all of it: it costs 41 us a request and side where this costs 10, and it ends the connection where a
proxy wants to end one stream (docs/architecture.md has the figures). h2 judges the peer's SETTINGS here and names the
codes, its hpack decodes Huffman (wire.hpack), and in tests it is the other end.

Three layers judge what comes: wire.http2_guard what is too much, this one what is no HTTP/2, wire.http2_head what is no
message. Errors are the stream's alone where the RFC lets them be. A stream that is over leaves its number and nothing
else; those that this side reset are remembered for a while, since the peer may not know yet (§5.1).
"""

from collections.abc import Callable
from typing import Final

from h2.exceptions import InvalidSettingsValueError
from h2.settings import SettingCodes, Settings

from proxyd.core.headers import Headers
from proxyd.wire.hpack import BombError, CompressionError
from proxyd.wire.http2_events import (
    Code,
    Data,
    Event,
    Going,
    Head,
    Http2Error,
    Pong,
    Reset,
    Room,
    Settled,
    Trailers,
)
from proxyd.wire.http2_guard import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FloodError,
)
from proxyd.wire.http2_send import ACK, LAST_STREAM, PREFACE, THEIRS, Sender, Stream

__all__ = [
    "LAST_STREAM",
    "PREFACE",
    "Code",
    "Codec",
    "Data",
    "Event",
    "Going",
    "Head",
    "Http2Error",
    "Pong",
    "Reset",
    "Room",
    "Settled",
    "Trailers",
]

_WEIGHTED: Final = 0x20
_HEADER: Final = 9
_JUDGES: Final = (Settings(client=True), Settings(client=False))
"""Of what a client's settings, and what a server's, may be."""
_LARGEST_SENT: Final = 64 * 1024
"""Frames are no larger than this, whatever the peer would take: other streams wait for each."""


class Codec(Sender):
    """One side of a connection."""

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes and return what they say. Http2Error when the connection cannot go on."""
        events: list[Event] = []
        if self._flood:
            self._end(Code.ENHANCE_YOUR_CALM, f"too many: {self._flood}")
        if self._preface:
            data = self._skip_preface(data)
        if self._partial:
            data = self._partial + data
        most, count = self._limits.frame_bytes, self._guard.frame
        position, size, said = 0, len(data), len(self._out)
        try:
            while size - position >= _HEADER:
                length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
                kind, flags = data[position + 3], data[position + 4]
                if length > most:
                    self._end(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
                if not self._settled:
                    self._expect_settings(kind, flags)
                start = position + _HEADER
                position = start + length
                if position > size:
                    position = start - _HEADER
                    break
                if kind == DATA and length and flags & PADDED:
                    count(kind, flags, length - 1 - data[start])
                else:
                    count(kind, flags, length)
                if self._block is not None and kind != CONTINUATION:
                    self._end(Code.PROTOCOL_ERROR, "a frame within a field section (§6.2)")
                handle = _HANDLERS.get(kind)
                if handle is not None:  # else of a type that is ignored (§5.5)
                    stream = int.from_bytes(data[start - 4 : start], "big") & LAST_STREAM
                    handle(self, stream, flags, data[start:position], events)
        except FloodError as error:
            del self._out[said:]  # the answers that the flood was after
            self._end(Code.ENHANCE_YOUR_CALM, f"too many: {error}")
        self._partial = data[position:]
        return events

    def _skip_preface(self, data: bytes) -> bytes:
        expected = self._preface
        if not expected.startswith(data[: len(expected)]):
            self._end(Code.PROTOCOL_ERROR, "no HTTP/2 preface")
        self._preface = expected[len(data) :]
        return data[len(expected) :]

    def _expect_settings(self, kind: int, flags: int) -> None:
        """The first frame is SETTINGS, and answers nothing (§3.4)."""
        if kind != SETTINGS or flags & ACK:
            self._end(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._settled = True

    def _data(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        credit = len(payload)
        if flags & PADDED:
            payload = self._unpadded(payload)
        self._window -= credit
        if self._window < 0:
            self._end(Code.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
        stream = self._streams.get(number)
        if stream is None:
            self._expect_used(number)
            self.credit(0, credit)
            self._late(number)
            return
        if stream.sides & THEIRS or not stream.headed:
            self.credit(0, credit)
            self._fault(number, Code.STREAM_CLOSED if stream.headed else Code.PROTOCOL_ERROR, events)
            return
        stream.window -= credit
        if stream.window < 0:
            self.credit(0, credit)
            self._fault(number, Code.FLOW_CONTROL_ERROR, events)
            return
        self._guard.useful()
        ended = bool(flags & END_STREAM)
        if ended:
            self._half(number, stream, THEIRS)
        events.append(Data(number, payload, credit, ended))

    def _headers(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if flags & PADDED:
            payload = self._unpadded(payload)
        if flags & _WEIGHTED:  # priorities are read and not followed (§5.3)
            if len(payload) < 5:
                self._end(Code.FRAME_SIZE_ERROR, "HEADERS without the priority that they announce")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._section(number, flags, payload, events)
        else:
            self._block, self._block_stream, self._block_flags = [payload], number, flags

    def _continuation(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        block = self._block
        if block is None or number != self._block_stream:
            self._end(Code.PROTOCOL_ERROR, "CONTINUATION of nothing (§6.10)")
        block.append(payload)
        if flags & END_HEADERS:
            self._block = None
            self._section(number, self._block_flags, b"".join(block), events)

    def _section(self, number: int, flags: int, block: bytes, events: list[Event]) -> None:
        """A whole field section came: a head or trailers. It is decoded in any case, since the table goes on."""
        stream = self._streams.get(number)
        if stream is None and (self._client or number <= self._seen or not number & 1):
            self._expect_used(number)
            if number not in self._reset and not self._client:
                self._end(Code.STREAM_CLOSED, f"HEADERS on stream {number}, which is over")
            self._decode(block)
            self._late(number)
            return
        fields = self._decode(block)
        ended = bool(flags & END_STREAM)
        if stream is None:
            self._begins(number, fields, events, ended=ended)
        elif stream.sides & THEIRS:
            self._fault(number, Code.STREAM_CLOSED, events)
        elif stream.headed:
            if not ended:  # §8.1
                self._fault(number, Code.PROTOCOL_ERROR, events)
                return
            self._guard.useful()
            self._half(number, stream, THEIRS)
            events.append(Trailers(number, fields))
        else:
            if fields and fields[0][0] == b":status" and fields[0][1][:1] == b"1":
                if ended:  # §8.1
                    self._fault(number, Code.PROTOCOL_ERROR, events)
                    return
            else:
                stream.headed = True
                self._guard.useful()
                if ended:
                    self._half(number, stream, THEIRS)
            events.append(Head(number, fields, ended))

    def _begins(self, number: int, fields: Headers, events: list[Event], *, ended: bool) -> None:
        """A request's head came."""
        self._seen = number
        if self._gone or len(self._streams) >= self._limits.streams:
            self._remember(number)
            self._send(RST_STREAM, 0, number, Code.REFUSED_STREAM.to_bytes(4, "big"))
            if not self._gone:
                self._guard.reset()
            return
        self._last = number
        sides = THEIRS if ended else 0
        self._streams[number] = Stream(self._first_room, self._limits.stream_window, sides, headed=True)
        self._guard.useful()
        events.append(Head(number, fields, ended))

    def _decode(self, block: bytes) -> Headers:
        try:
            return self._decoder.decode(block)
        except CompressionError as error:
            self._end(Code.COMPRESSION_ERROR, f"a field section that cannot be decoded: {error}")
        except BombError as error:
            self._end(Code.ENHANCE_YOUR_CALM, str(error))

    def _priority(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if not number:
            self._end(Code.PROTOCOL_ERROR, "PRIORITY of no stream (§6.3)")
        if len(payload) != 5:
            self._end(Code.FRAME_SIZE_ERROR, "PRIORITY of another size than 5")

    def _rst_stream(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) != 4:
            self._end(Code.FRAME_SIZE_ERROR, "RST_STREAM of another size than 4")
        self._expect_used(number)
        if self._streams.pop(number, None) is not None:
            events.append(Reset(number, int.from_bytes(payload, "big")))
            if not self._client:
                self._guard.reset()

    def _settings(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if number:
            self._end(Code.PROTOCOL_ERROR, "SETTINGS on a stream (§6.5)")
        if len(payload) % 6 or (flags & ACK and payload):
            self._end(Code.FRAME_SIZE_ERROR, "SETTINGS of a size that is none (§6.5)")
        if flags & ACK:
            return
        for start in range(0, len(payload), 6):
            self._set(
                int.from_bytes(payload[start : start + 2], "big"), int.from_bytes(payload[start + 2 : start + 6], "big")
            )
        self._send(SETTINGS, ACK, 0, b"")
        events += (Settled(), Room(0))

    def _set(self, number: int, value: int) -> None:
        """Take one setting of the peer's (§6.5.2); those that are not known are ignored."""
        try:
            code = SettingCodes(number)
        except ValueError:
            return
        try:
            _JUDGES[self._client].validate_received_setting(code, value)
        except InvalidSettingsValueError as error:
            self._end(Code(error.error_code), f"{code.name} is set to {value}")
        if code is SettingCodes.INITIAL_WINDOW_SIZE:
            change, self._first_room = value - self._first_room, value
            for stream in self._streams.values():  # §6.9.2; a window may become negative
                stream.room += change
                if stream.room > LAST_STREAM:
                    self._end(Code.FLOW_CONTROL_ERROR, "SETTINGS make a window too large")
        elif code is SettingCodes.MAX_FRAME_SIZE:
            self._frame = min(value, _LARGEST_SENT)
        elif code is SettingCodes.MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif code is SettingCodes.HEADER_TABLE_SIZE:
            self._encoder.header_table_size = value

    def _push_promise(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        self._end(Code.PROTOCOL_ERROR, "PUSH_PROMISE, which was forbidden (§6.6)")

    def _ping(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if number:
            self._end(Code.PROTOCOL_ERROR, "PING on a stream (§6.7)")
        if len(payload) != 8:
            self._end(Code.FRAME_SIZE_ERROR, "PING of another size than 8")
        if flags & ACK:
            events.append(Pong(payload))
        else:
            self._send(PING, ACK, 0, payload)

    def _goaway(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if number:
            self._end(Code.PROTOCOL_ERROR, "GOAWAY on a stream (§6.8)")
        if len(payload) < 8:
            self._end(Code.FRAME_SIZE_ERROR, "a short GOAWAY")
        last = int.from_bytes(payload[:4], "big") & LAST_STREAM
        events.append(Going(last, int.from_bytes(payload[4:8], "big")))

    def _window_update(self, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) != 4:
            self._end(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of another size than 4")
        more = int.from_bytes(payload, "big") & LAST_STREAM
        if not number:
            self._room += more
            if not more or self._room > LAST_STREAM:
                code = Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR
                self._end(code, f"WINDOW_UPDATE of {more} on the connection")
        else:
            stream = self._streams.get(number)
            if stream is None:
                self._expect_used(number)
                return
            stream.room += more
            if not more or stream.room > LAST_STREAM:
                self._fault(number, Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR, events)
                return
        events.append(Room(number))

    # --- judgements -------------------------------------------------------------------------------

    def _unpadded(self, payload: bytes) -> bytes:
        if not payload or payload[0] >= len(payload):
            self._end(Code.PROTOCOL_ERROR, "padding longer than its frame (§6.1)")
        return payload[1 : len(payload) - payload[0]]

    def _expect_used(self, number: int) -> None:
        """A stream that is not open must have been, and be one of those that whoever opens them may number so."""
        if not number & 1 or number > self._seen:
            self._end(Code.PROTOCOL_ERROR, f"a frame on stream {number}, which is idle or none (§5.1)")

    def _late(self, number: int) -> None:
        """A frame came on a stream that is over: no wonder where this side reset it (§5.1)."""
        if number not in self._reset:
            self._guard.late()
            self._send(RST_STREAM, 0, number, Code.STREAM_CLOSED.to_bytes(4, "big"))

    def _fault(self, number: int, code: Code, events: list[Event]) -> None:
        """A stream error: end the stream, and tell both its owner and the peer."""
        del self._streams[number]
        self._remember(number)
        self._send(RST_STREAM, 0, number, code.to_bytes(4, "big"))
        events.append(Reset(number, code))
        self._guard.reset()


_HANDLERS: Final[dict[int, Callable[[Codec, int, int, bytes, list[Event]], None]]] = {
    DATA: Codec._data,
    HEADERS: Codec._headers,
    PRIORITY: Codec._priority,
    RST_STREAM: Codec._rst_stream,
    SETTINGS: Codec._settings,
    PUSH_PROMISE: Codec._push_promise,
    PING: Codec._ping,
    GOAWAY: Codec._goaway,
    WINDOW_UPDATE: Codec._window_update,
    CONTINUATION: Codec._continuation,
}
