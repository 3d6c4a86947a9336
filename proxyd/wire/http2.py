"""HTTP/2 framing, both sides, without sockets: a narrow adapter over the h2 library (RFC 9113).

h2 keeps the state of streams, the windows and HPACK's tables. Here are what a proxy needs besides: GOAWAY in two steps,
streams that go on after one (h2 ends a connection at the first), and events without h2's own types. Fields come out as
they were sent; whether a message is well formed is for wire.http2_head to judge, stream by stream.
"""

from typing import Final, NamedTuple, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from proxyd.core.headers import Headers
from proxyd.core.limits import Http2Limits
from proxyd.wire.http2_head import Fields

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 §3.4)."""

LAST_STREAM: Final = 2**31 - 1
"""No stream has a higher number; in a GOAWAY: none is refused yet (RFC 9113 §6.8)."""

Code = h2.errors.ErrorCodes

_HEADER: Final = 9
_GOAWAY: Final = 7
_DEFAULT_WINDOW: Final = 65535


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

    def __init__(self, *, client: bool, limits: Http2Limits) -> None:
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._limits = limits
        self._client = client
        self._partial = b""
        self._preface = b"" if client else PREFACE
        """What of the preface has not come yet."""
        self._last = 0
        """The peer's newest stream."""
        self._gone = False
        """A final GOAWAY went out."""
        self._out = b""
        """Queued before what h2 holds."""
        self._owed: dict[int, int] = {}
        """Consumed bytes by stream, and in all (0), that the peer was not told of yet."""

    def __repr__(self) -> str:
        return f"<Codec {'client' if self._client else 'server'} last={self._last}>"

    @property
    def streams(self) -> int:
        """Streams that this side opened and that have not ended."""
        return self._h2.open_outbound_streams

    @property
    def max_streams(self) -> int:
        """Streams that the peer lets this side have open at a time."""
        return self._h2.remote_settings.max_concurrent_streams

    def begin(self) -> None:
        """Queue the preface and SETTINGS."""
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
        conn.decoder.max_header_list_size = limits.head_bytes
        conn.initiate_connection()
        conn.increment_flow_control_window(limits.connection_window - _DEFAULT_WINDOW)

    def take(self) -> bytes:
        """Return what is to be sent and forget it."""
        data = self._h2.data_to_send()
        if self._out:
            data, self._out = self._out + data, b""
        return data

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes and return what they say. Http2Error when the connection cannot go on."""
        events: list[Event] = []
        if self._preface:
            data = self._skip_preface(data)
        if self._partial:
            data = self._partial + data
        start = position = 0
        size = len(data)
        while size - position >= _HEADER:
            length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            if length > self._limits.frame_bytes:
                self._end(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = position + _HEADER + length
            if end > size:
                break
            if data[position + 3] == _GOAWAY:
                self._feed(data[start:position], events)
                start = end
                events.append(self._going(data[position:end]))
            position = end
        self._partial = data[position:]
        self._feed(data[start:position], events)
        return events

    def _skip_preface(self, data: bytes) -> bytes:
        expected = self._preface
        if not expected.startswith(data[: len(expected)]):
            self._end(Code.PROTOCOL_ERROR, "no HTTP/2 preface")
        taken = data[: len(expected)]
        self._preface = expected[len(taken) :]
        self._h2.receive_data(taken)
        return data[len(taken) :]

    def _going(self, frame: bytes) -> Going:
        if len(frame) < _HEADER + 8 or frame[5:9] != b"\0\0\0\0":
            self._end(Code.PROTOCOL_ERROR, "a malformed GOAWAY")
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
            if isinstance(event, h2.events.DataReceived):
                ended = event.stream_ended is not None
                events.append(Data(event.stream_id, event.data, event.flow_controlled_length, ended))
            elif isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
                self._last = max(self._last, event.stream_id)
                events.append(Head(event.stream_id, _fields(event.headers), event.stream_ended is not None))
            elif isinstance(event, h2.events.WindowUpdated):
                events.append(Room(event.stream_id))
            elif isinstance(event, h2.events.TrailersReceived):
                events.append(Trailers(event.stream_id, _fields(event.headers)))
            elif isinstance(event, h2.events.InformationalResponseReceived):
                events.append(Head(event.stream_id, _fields(event.headers), ended=False))
            elif isinstance(event, h2.events.StreamReset):
                events.append(Reset(event.stream_id, int(event.error_code)))
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                events += (Settled(), Room(0))
            elif isinstance(event, h2.events.PingAckReceived):
                events.append(Pong(event.ping_data))

    def _end(self, code: int, detail: str) -> None:
        self.going(code)
        raise Http2Error(code, detail)

    # --- out --------------------------------------------------------------------------------------

    def open(self) -> int:
        """Return the number of the next stream of this side."""
        return self._h2.get_next_available_stream_id()

    def head(self, stream: int, fields: Headers | Fields, *, ended: bool) -> None:
        """Queue a head. KeyError when the stream is over."""
        try:
            self._h2.send_headers(stream, cast("Headers", fields), end_stream=ended)
        except h2.exceptions.StreamClosedError:
            raise KeyError(stream) from None

    def data(self, stream: int, data: bytes | memoryview, *, ended: bool) -> None:
        """Queue a piece of a body, no longer than ``room``. KeyError when the stream is over."""
        try:
            self._h2.send_data(stream, data, end_stream=ended)
        except h2.exceptions.StreamClosedError:
            raise KeyError(stream) from None

    def trailers(self, stream: int, fields: Headers | Fields) -> None:
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
        if owed >= limits.connection_window // 2:
            self._h2.increment_flow_control_window(owed)
            owed, queued = 0, True
        self._owed[0] = owed
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
        """Queue RST_STREAM; nothing where the stream is over."""
        try:
            self._h2.reset_stream(stream, code)
        except h2.exceptions.StreamClosedError:
            return

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
        self._out += self._h2.data_to_send() + len(body).to_bytes(3, "big") + bytes((_GOAWAY, 0, 0, 0, 0, 0)) + body


def _fields(headers: object) -> Headers:
    return cast("Headers", headers)  # bytes, since no encoding is configured
