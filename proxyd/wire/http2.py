"""HTTP/2 framing, both sides, without sockets: a narrow adapter over the h2 library (RFC 9113).

h2 keeps the state of connection and streams, the windows and SETTINGS. Here is what a proxy needs besides: GOAWAY in
two steps, streams that go on after one (h2 ends a connection at the first), streams above the limit refused one by one
(h2 ends the connection), header compression of our own (wire.hpack: half of h2's time was hpack's), floods met before
anything is made of them (wire.http2_guard), and events without h2's own types. Fields come out as they were sent, and
h2 does not see them: whether a message is well formed is for wire.http2_head to judge, stream by stream.
"""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from proxyd.core.headers import Headers
from proxyd.core.limits import Http2Limits
from proxyd.wire import hpack
from proxyd.wire.http2_guard import (
    DATA,
    GOAWAY,
    HEADERS,
    PADDED,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FloodError,
    Guard,
)
from proxyd.wire.http2_head import Fields

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 §3.4)."""

LAST_STREAM: Final = 2**31 - 1
"""No stream has a higher number; in a GOAWAY: none is refused yet (RFC 9113 §6.8)."""

Code = h2.errors.ErrorCodes

_HEADER: Final = 9
_ACK: Final = 0x1
_ON_STREAMS: Final = frozenset({DATA, HEADERS, RST_STREAM})
_INCREMENT: Final = 4
_DEFAULT_WINDOW: Final = 65535
_HEADS: Final = 32
"""Streams that begin in one go before it is looked at what became of them."""


class Http2Error(Exception):
    """The connection cannot go on; the GOAWAY that says so is in what ``take`` returns."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Head(NamedTuple):
    """A request's or a response's head, interim ones included."""

    stream: int
    fields: Headers
    """Pseudo-header fields first, as they came."""
    ended: bool


class Trailers(NamedTuple):
    """Trailer fields, and the end of the stream."""

    stream: int
    fields: Headers


class Data(NamedTuple):
    """A piece of a body."""

    stream: int
    data: bytes
    credit: int
    """Bytes to give back by ``Codec.credit`` once the piece is consumed: padding counts."""
    ended: bool


class Reset(NamedTuple):
    """The stream ended before its time."""

    stream: int
    code: int


class Room(NamedTuple):
    """More may be sent: on this stream, or on any (0)."""

    stream: int


class Going(NamedTuple):
    """The peer takes no streams above ``last`` (GOAWAY)."""

    last: int
    code: int


class Settled(NamedTuple):
    """The peer's SETTINGS came."""


class Pong(NamedTuple):
    """A PING came back."""

    payload: bytes


Event = Head | Trailers | Data | Reset | Room | Going | Settled | Pong


class Codec:
    """One side of a connection."""

    def __init__(self, *, client: bool, limits: Http2Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._h2 = _Connection(
            h2.config.H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._encoder = _Encoder()
        self._h2.plug(self._encoder, _Decoder(2 * limits.head_bytes))
        self._limits = limits
        self._client = client
        self._guard = Guard(limits, clock)
        self._flood = ""
        """What the peer does too much of, once that was found outside ``receive``."""
        self._partial = b""
        self._preface = b"" if client else PREFACE
        """What of the preface has not come yet."""
        self._settled = False
        """The peer's first frame came, which must be SETTINGS."""
        self._last = 0
        """The peer's newest stream."""
        self._gone = False
        """A final GOAWAY went out."""
        self._out = b""
        """Queued before what h2 holds."""
        self._open: dict[int, int] = {}
        """Streams that have not ended, and which of their sides has."""
        self._granted = _DEFAULT_WINDOW
        """What all streams of the peer may have on the way or unconsumed."""
        self._owed: dict[int, int] = {}
        """Consumed bytes by stream, and in all (0), that the peer was not told of yet."""

    def __repr__(self) -> str:
        return f"<Codec {'client' if self._client else 'server'} last={self._last} streams={len(self._open)}>"

    @property
    def streams(self) -> int:
        """Streams that have not ended."""
        return len(self._open)

    @property
    def max_streams(self) -> int:
        """Streams that the peer lets this side have open at a time."""
        return self._h2.remote_settings.max_concurrent_streams

    def begin(self, *, wide: bool = True) -> None:
        """Queue the preface and SETTINGS; without ``wide``, all streams share the protocol's own window for now."""
        limits = self._limits
        settings = h2.settings.SettingCodes
        conn = self._h2
        conn.local_settings.update(
            {
                settings.ENABLE_PUSH: 0,
                settings.MAX_CONCURRENT_STREAMS: limits.streams,
                settings.INITIAL_WINDOW_SIZE: limits.stream_window,
                settings.MAX_FRAME_SIZE: limits.frame_bytes,
                settings.MAX_HEADER_LIST_SIZE: limits.head_bytes,
            }
        )
        conn.local_settings.acknowledge()
        conn.initiate_connection()
        if wide:
            self.widen()
        # What h2 would end the connection for: those above the limit are refused one by one.
        conn.local_settings.max_concurrent_streams = LAST_STREAM
        conn.local_settings.acknowledge()

    def widen(self) -> None:
        """Let the streams together have ``connection_window``, once."""
        more = self._limits.connection_window - self._granted
        if more > 0:
            self._h2.increment_flow_control_window(more)
            self._granted += more

    @property
    def is_midway(self) -> bool:
        """Whether part of a frame, or of a field section, has come."""
        return bool(self._partial or self._preface) or self._h2.is_within_head

    def take(self) -> bytes:
        """Return what is to be sent and forget it."""
        data = self._h2.data_to_send()
        if self._out:
            data, self._out = self._out + data, b""
        return data

    # --- in ---------------------------------------------------------------------------------------

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
        start = position = heads = 0
        size = len(data)
        try:
            while size - position >= _HEADER:
                length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
                kind = data[position + 3]
                if length > most:
                    self._end(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
                if not self._settled:
                    self._expect_settings(kind, data[position + 4])
                end = position + _HEADER + length
                if end > size:
                    break
                flags = data[position + 4]
                if self._client and kind in _ON_STREAMS:
                    self._expect_ours(int.from_bytes(data[position + 5 : position + 9], "big") & LAST_STREAM)
                if kind == DATA and length and flags & PADDED:
                    count(kind, flags, length - 1 - data[position + _HEADER])
                else:
                    count(kind, flags, length)
                if kind == HEADERS:
                    heads += 1
                    if heads > _HEADS:
                        self._feed(data[start:position], events)
                        start, heads = position, 1
                elif kind == GOAWAY:
                    self._feed(data[start:position], events)
                    start = end
                    events.append(self._going(data[position:end]))
                elif kind == SETTINGS and length and flags & _ACK:
                    self._end(Code.FRAME_SIZE_ERROR, "an ACK of SETTINGS that says something (§6.5)")
                elif kind == WINDOW_UPDATE and length == _INCREMENT and data[position + _HEADER] & 0x80:
                    self._feed(data[start:position], events)
                    start = end
                    self._feed(_without_reserved_bit(data[position:end]), events)
                position = end
            self._partial = data[position:]
            if position > start:
                self._feed(data[start:position] if start or position < size else data, events)
        except FloodError as error:
            self._end(Code.ENHANCE_YOUR_CALM, f"too many: {error}")
        return events

    def _skip_preface(self, data: bytes) -> bytes:
        expected = self._preface
        if not expected.startswith(data[: len(expected)]):
            self._end(Code.PROTOCOL_ERROR, "no HTTP/2 preface")
        taken = data[: len(expected)]
        self._preface = expected[len(taken) :]
        self._h2.receive_data(taken)
        return data[len(taken) :]

    def _expect_settings(self, kind: int, flags: int) -> None:
        """The first frame is SETTINGS, and answers nothing (§3.4)."""
        if kind != SETTINGS or flags & _ACK:
            self._end(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._settled = True

    def _expect_ours(self, stream: int) -> None:
        """A server speaks on streams that this side opened (§5.1): h2 lets some pass."""
        if stream and (stream > self._h2.highest_outbound_stream_id or not stream & 1):
            self._end(Code.PROTOCOL_ERROR, f"a frame on stream {stream}, which is idle")

    def _going(self, frame: bytes) -> Going:
        if frame[5:9] != b"\0\0\0\0":
            self._end(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(frame) < _HEADER + 8:
            self._end(Code.FRAME_SIZE_ERROR, "a short GOAWAY")
        last = int.from_bytes(frame[9:13], "big") & LAST_STREAM
        return Going(last, int.from_bytes(frame[13:17], "big"))

    def _feed(self, data: bytes, events: list[Event]) -> None:
        if not data:
            return
        try:
            found = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._gone = True
            raise Http2Error(int(error.error_code), str(error) or type(error).__name__) from None
        for event in found:
            translate = _TRANSLATORS.get(type(event))
            if translate is not None:
                translate(self, event, events)

    def _data(self, event: h2.events.DataReceived, events: list[Event]) -> None:
        stream, credit = event.stream_id, event.flow_controlled_length
        ended = event.stream_ended is not None
        if stream not in self._open:  # refused, or reset, within what came at once
            self.credit(0, credit)
            return
        if ended:
            self._half(stream, _THEIRS)
        events.append(Data(stream, event.data, credit, ended))

    def _request(self, event: h2.events.RequestReceived, events: list[Event]) -> None:
        stream, ended = event.stream_id, event.stream_ended is not None
        if self._gone or len(self._open) >= self._limits.streams:
            self._h2.reset_stream(stream, Code.REFUSED_STREAM)
            if not self._gone:
                self._guard.reset()
            return
        self._last = stream
        self._open[stream] = _THEIRS if ended else 0
        events.append(Head(stream, _fields(event.headers), ended))

    def _response(self, event: h2.events.ResponseReceived, events: list[Event]) -> None:
        stream, ended = event.stream_id, event.stream_ended is not None
        if ended:
            self._half(stream, _THEIRS)
        events.append(Head(stream, _fields(event.headers), ended))

    def _interim(self, event: h2.events.InformationalResponseReceived, events: list[Event]) -> None:
        events.append(Head(event.stream_id, _fields(event.headers), ended=False))

    def _trailers(self, event: h2.events.TrailersReceived, events: list[Event]) -> None:
        stream = event.stream_id
        if stream in self._open:
            self._half(stream, _THEIRS)
            events.append(Trailers(stream, _fields(event.headers)))

    def _window(self, event: h2.events.WindowUpdated, events: list[Event]) -> None:
        events.append(Room(event.stream_id))

    def _reset(self, event: h2.events.StreamReset, events: list[Event]) -> None:
        stream = event.stream_id
        if self._open.pop(stream, None) is not None:
            events.append(Reset(stream, int(event.error_code)))
            if not self._client:
                self._guard.reset()

    def _settings(self, event: h2.events.RemoteSettingsChanged, events: list[Event]) -> None:
        events += (Settled(), Room(0))

    def _pong(self, event: h2.events.PingAckReceived, events: list[Event]) -> None:
        events.append(Pong(event.ping_data))

    def _half(self, stream: int, side: int) -> None:
        """One side of a stream has ended."""
        sides = self._open.get(stream)
        if sides is None:
            return
        if sides | side == _BOTH:
            del self._open[stream]
            self._guard.done()
        else:
            self._open[stream] = sides | side

    def _end(self, code: int, detail: str) -> NoReturn:
        self.going(code)
        raise Http2Error(code, detail)

    # --- out --------------------------------------------------------------------------------------

    def open(self) -> int:
        """Return the number of the next stream of this side."""
        return self._h2.get_next_available_stream_id()

    def head(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """Queue a head. KeyError when the stream is over."""
        interim = not self._client and fields[0][1][:1] == b"1" and fields[0][0] == b":status"
        self._encoder.next = fields
        if self._client:
            self._open.setdefault(stream, 0)
        try:
            self._h2.send_headers(stream, _INTERIM if interim else _FINAL, end_stream=ended)
        except h2.exceptions.StreamClosedError:
            self._open.pop(stream, None)
            raise KeyError(stream) from None
        if ended:
            self._half(stream, _OURS)

    def data(self, stream: int, data: bytes | memoryview, *, ended: bool) -> None:
        """Queue a piece of a body, no longer than ``room``. KeyError when the stream is over."""
        try:
            self._h2.send_data(stream, data, end_stream=ended)
        except h2.exceptions.StreamClosedError:
            raise KeyError(stream) from None
        self._guard.sent += 1
        if ended:
            self._half(stream, _OURS)

    def trailers(self, stream: int, fields: Fields) -> None:
        """Queue trailer fields, which end the stream. KeyError when the stream is over."""
        self.head(stream, fields, ended=True)

    def room(self, stream: int) -> int:
        """Return how many bytes may be sent now: the windows allow them, and one frame holds them."""
        try:
            window = self._h2.local_flow_control_window(stream)
        except h2.exceptions.StreamClosedError:
            raise KeyError(stream) from None
        return max(0, min(window, self._h2.max_outbound_frame_size))

    def credit(self, stream: int, size: int) -> bool:
        """Give the peer back what was consumed, by half a window at a time; True when a WINDOW_UPDATE is queued."""
        limits = self._limits
        queued = False
        owed = self._owed.get(0, 0) + size
        if owed >= self._granted // 2:
            self._h2.increment_flow_control_window(owed)
            owed, queued = 0, True
        self._owed[0] = owed
        if not stream or stream not in self._open:
            return queued
        owed = self._owed.get(stream, 0) + size
        if owed >= limits.stream_window // 2:
            try:
                self._h2.increment_flow_control_window(owed, stream)
            except h2.exceptions.StreamClosedError:
                self._owed.pop(stream, None)
                return queued
            owed, queued = 0, True
        self._owed[stream] = owed
        return queued

    def forget(self, stream: int) -> None:
        """The stream is over for its owner: nothing more is consumed on it."""
        self._owed.pop(stream, None)

    def reset(self, stream: int, code: int) -> None:
        """Queue RST_STREAM; nothing where the stream is over. PROTOCOL_ERROR is the peer's doing, and counts."""
        self._open.pop(stream, None)
        try:
            self._h2.reset_stream(stream, code)
        except h2.exceptions.StreamClosedError:
            return
        if code == Code.PROTOCOL_ERROR:
            try:
                self._guard.reset()
            except FloodError as error:
                self._flood = str(error)

    def ping(self, payload: bytes) -> None:
        """Queue a PING of eight bytes."""
        self._h2.ping(payload)

    def going(self, code: int = 0, *, final: bool = True, detail: bytes = b"") -> None:
        """Queue a GOAWAY: no stream above the newest is served; with ``final=False`` only that this will come."""
        if self._gone:
            return
        self._gone = final
        last = self._last if final else LAST_STREAM
        body = last.to_bytes(4, "big") + int(code).to_bytes(4, "big") + detail
        self._out += self._h2.data_to_send() + len(body).to_bytes(3, "big") + bytes((GOAWAY, 0, 0, 0, 0, 0)) + body


_OURS, _THEIRS, _BOTH = 1, 2, 3
_TRANSLATORS: Final[dict[type, Callable[[Codec, Any, list[Event]], None]]] = {
    h2.events.DataReceived: Codec._data,
    h2.events.RequestReceived: Codec._request,
    h2.events.ResponseReceived: Codec._response,
    h2.events.InformationalResponseReceived: Codec._interim,
    h2.events.TrailersReceived: Codec._trailers,
    h2.events.WindowUpdated: Codec._window,
    h2.events.StreamReset: Codec._reset,
    h2.events.RemoteSettingsChanged: Codec._settings,
    h2.events.PingAckReceived: Codec._pong,
}


# --- h2, and what it is not told ------------------------------------------------------------------

_FINAL: Final = [(b"", b"")]
_INTERIM: Final = [(b":status", b"1")]
"""All that h2 needs to know of a head that is sent."""


_USUAL: Final = (
    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE,
)


class _Values(list[int | None]):
    """The value of a setting, and those that wait for the peer's acknowledgement; as much of a deque as h2 needs."""

    __slots__ = ()

    def popleft(self) -> int | None:
        """Remove and return the oldest."""
        return self.pop(0)


class _Connection(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = 1024  # how each ended is kept, to tell late frames from wrong ones

    def plug(self, encoder: Any, decoder: Any) -> None:
        """Compress by these, and keep settings in less: deques for each were two thirds of an idle connection."""
        self.encoder, self.decoder = encoder, decoder
        for known in (self.local_settings, self.remote_settings):
            slim: dict[Any, Any] = {code: _Values(values) for code, values in known._settings.items()}
            for code in _USUAL:
                slim.setdefault(code, _Values([None]))  # as h2 marks what is not set yet
            known._settings = slim

    @property
    def is_within_head(self) -> bool:
        """Whether CONTINUATION is due."""
        return bool(self.incoming_buffer._headers_buffer)


class _CompressionError(h2.exceptions.ProtocolError):
    error_code = Code.COMPRESSION_ERROR


class _Encoder(hpack.Encoder):
    """h2 asks for a block once it has let the stream's state agree; only then may the table change."""

    __slots__ = ("next",)

    next: Fields

    def encode(self, _: object) -> bytes:
        return super().encode(self.next)


class _Decoder(hpack.Decoder):
    """h2 hears whether a response is interim, and hands the rest on unread."""

    __slots__ = ()

    def decode(self, block: bytes, raw: bool = True) -> list[tuple[bytes, Any]]:
        try:
            fields = super().decode(block)
        except hpack.CompressionError as error:
            raise _CompressionError(str(error)) from None
        except hpack.BombError as error:
            raise h2.exceptions.DenialOfServiceError(str(error)) from None
        if fields and fields[0][0] == b":status":
            return [fields[0], (b"", fields)]
        return [(b"", fields)]


def _without_reserved_bit(frame: bytes) -> bytes:
    """Return a WINDOW_UPDATE as h2 takes it (§6.9 has the bit ignored)."""
    return frame[:_HEADER] + bytes((frame[_HEADER] & 0x7F,)) + frame[_HEADER + 1 :]


def _fields(headers: Any) -> Headers:
    fields: Headers = headers[-1][1]
    return fields
