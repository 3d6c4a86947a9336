"""What one side of an HTTP/2 connection keeps and sends (RFC 9113): streams, windows, frames. See ``http2``."""

import time
from collections.abc import Callable
from typing import Final, NoReturn

from h2.settings import SettingCodes

from proxyd.core.limits import Http2Limits
from proxyd.wire.hpack import Decoder, Encoder
from proxyd.wire.http2_events import Code, Http2Error
from proxyd.wire.http2_fields import Fields
from proxyd.wire.http2_guard import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FloodError,
    Guard,
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 §3.4)."""

LAST_STREAM: Final = 2**31 - 1
"""No stream has a higher number; in a GOAWAY: none is refused yet (RFC 9113 §6.8). Windows have the same bound."""

ACK: Final = 0x1
OURS, THEIRS = 1, 2
_BOTH: Final = OURS | THEIRS
_DEFAULT_WINDOW: Final = 65535
_DEFAULT_FRAME: Final = 16_384
_UNBOUNDED: Final = 2**32
_REMEMBERED: Final = 1024
"""Streams that this side reset and remembers."""


class Stream:
    """A stream that has not ended."""

    __slots__ = ("headed", "owed", "room", "sides", "window")

    def __init__(self, room: int, window: int, sides: int, *, headed: bool) -> None:
        self.room = room
        """Bytes that the peer takes."""
        self.window = window
        """Bytes that this side takes."""
        self.owed = 0
        """Consumed, and the peer was not told."""
        self.sides = sides
        """Which have ended."""
        self.headed = headed
        """The peer's final head came: another is trailers."""


class Sender:
    """One side of a connection, and its way out."""

    def __init__(self, *, client: bool, limits: Http2Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._client = client
        self._guard = Guard(limits, clock)
        self._flood = ""
        """What the peer does too much of, once that was found outside ``receive``."""
        self._encoder = Encoder()
        self._decoder = Decoder(2 * limits.head_bytes)
        self.max_streams = _UNBOUNDED
        """Streams that the peer lets this side have open at a time."""
        self._frame = _DEFAULT_FRAME
        self._first_room = _DEFAULT_WINDOW
        self._room = _DEFAULT_WINDOW
        """Bytes that the peer takes on the connection."""
        self._granted = self._window = _DEFAULT_WINDOW
        """Bytes that this side takes on the connection, in all and now."""
        self._owed = 0
        self._partial = b""
        self._preface = b"" if client else PREFACE
        """What of the preface has not come yet."""
        self._settled = False
        """The peer's first frame came, which must be SETTINGS."""
        self._streams: dict[int, Stream] = {}
        self._reset: dict[int, None] = {}
        """Streams that this side reset, oldest first."""
        self._seen = 0
        """The newest stream of whoever opens them."""
        self._last = 0
        """The peer's newest stream that was not refused."""
        self._block: list[bytes] | None = None
        """A field section that has not ended, with its stream and its end."""
        self._block_stream = 0
        self._block_flags = 0
        self._gone = False
        """A final GOAWAY went out."""
        self._out: list[bytes | memoryview] = []

    def __repr__(self) -> str:
        return f"<Codec {'client' if self._client else 'server'} last={self._seen} streams={len(self._streams)}>"

    @property
    def streams(self) -> int:
        """Streams that have not ended."""
        return len(self._streams)

    @property
    def is_midway(self) -> bool:
        """Whether part of a frame, or of a field section, has come."""
        return bool(self._partial or self._preface) or self._block is not None

    def begin(self, *, wide: bool = True) -> None:
        """Queue the preface and SETTINGS; without ``wide``, all streams share the protocol's own window for now."""
        limits = self._limits
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams,
            SettingCodes.INITIAL_WINDOW_SIZE: limits.stream_window,
            SettingCodes.MAX_FRAME_SIZE: limits.frame_bytes,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
        }
        if self._client:
            settings[SettingCodes.ENABLE_PUSH] = 0
            self._out.append(PREFACE)
        entries = [int(code).to_bytes(2, "big") + value.to_bytes(4, "big") for code, value in settings.items()]
        self._send(SETTINGS, 0, 0, b"".join(entries))
        if wide:
            self.widen()

    def widen(self) -> None:
        """Let the streams together have ``connection_window``, once."""
        more = self._limits.connection_window - self._granted
        if more > 0:
            self._granted += more
            self._window += more
            self._send(WINDOW_UPDATE, 0, 0, more.to_bytes(4, "big"))

    def take(self) -> bytes:
        """Return what is to be sent and forget it."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    # --- out --------------------------------------------------------------------------------------

    def _send(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._out.append(
            b"%b%c%c%b%b" % (len(payload).to_bytes(3, "big"), kind, flags, number.to_bytes(4, "big"), payload)
        )

    def open(self) -> int:
        """Return the number of the next stream of this side; its head takes it. OverflowError when all are used."""
        number = self._seen + 2 if self._seen else 1
        if number > LAST_STREAM:
            raise OverflowError("no stream is left on this connection")
        return number

    def head(self, stream: int, fields: Fields, *, ended: bool) -> None:
        """Queue a head. KeyError when the stream is over."""
        found = self._streams.get(stream)
        if found is None:
            if not self._client or stream <= self._seen:
                raise KeyError(stream)
            self._seen = stream
            found = self._streams[stream] = Stream(self._first_room, self._limits.stream_window, 0, headed=False)
        elif found.sides & OURS:
            raise KeyError(stream)
        block = self._encoder.encode(fields)
        flags = END_STREAM if ended else 0
        most = self._frame
        if len(block) <= most:
            self._send(HEADERS, flags | END_HEADERS, stream, block)
        else:
            self._send(HEADERS, flags, stream, block[:most])
            for start in range(most, len(block), most):
                end = END_HEADERS if start + most >= len(block) else 0
                self._send(CONTINUATION, end, stream, block[start : start + most])
        if ended:
            self._half(stream, found, OURS)

    def data(self, stream: int, data: bytes | memoryview, *, ended: bool) -> None:
        """Queue a piece of a body, no longer than ``room``. KeyError when the stream is over."""
        found = self._streams[stream]
        if found.sides & OURS:
            raise KeyError(stream)
        size = len(data)
        found.room -= size
        self._room -= size
        self._guard.sent += 1
        head = size.to_bytes(3, "big") + (b"\0\1" if ended else b"\0\0") + stream.to_bytes(4, "big")
        self._out += (head, data)
        if ended:
            self._half(stream, found, OURS)

    def trailers(self, stream: int, fields: Fields) -> None:
        """Queue trailer fields, which end the stream. KeyError when the stream is over."""
        self.head(stream, fields, ended=True)

    def room(self, stream: int) -> int:
        """Return how many bytes may be sent now: the windows allow them, and one frame holds them."""
        return max(0, min(self._streams[stream].room, self._room, self._frame))

    def credit(self, stream: int, size: int) -> bool:
        """Give the peer back what was consumed, by half a window at a time; True when a WINDOW_UPDATE is queued."""
        limits = self._limits
        queued = False
        self._owed += size
        if self._owed >= self._granted // 2:
            self._window += self._owed
            self._send(WINDOW_UPDATE, 0, 0, self._owed.to_bytes(4, "big"))
            self._owed, queued = 0, True
        found = self._streams.get(stream)
        if found is not None and not found.sides & THEIRS:
            found.owed += size
            if found.owed >= limits.stream_window // 2:
                found.window += found.owed
                self._send(WINDOW_UPDATE, 0, stream, found.owed.to_bytes(4, "big"))
                found.owed, queued = 0, True
        return queued

    def forget(self, stream: int) -> None:
        """The stream is over for its owner; what is kept of it ends with its last frame."""

    def reset(self, stream: int, code: int) -> None:
        """Queue RST_STREAM; nothing where the stream is over. PROTOCOL_ERROR is the peer's doing, and counts."""
        if self._streams.pop(stream, None) is None:
            return
        self._remember(stream)
        self._send(RST_STREAM, 0, stream, code.to_bytes(4, "big"))
        if code == Code.PROTOCOL_ERROR:
            try:
                self._guard.reset()
            except FloodError as error:
                self._flood = str(error)

    def ping(self, payload: bytes) -> None:
        """Queue a PING of eight bytes."""
        self._send(PING, 0, 0, payload)

    def going(self, code: int = 0, *, final: bool = True, detail: bytes = b"") -> None:
        """Queue a GOAWAY: no stream above the newest is served; with ``final=False`` only that this will come."""
        if not self._gone:
            self._gone = final
            self._say_goodbye(self._last if final else LAST_STREAM, code, detail)

    def _say_goodbye(self, last: int, code: int, detail: bytes) -> None:
        self._send(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + detail)

    # --- ends ---------------------------------------------------------------------------------------

    def _end(self, code: Code, detail: str) -> NoReturn:
        """A connection error."""
        self._say_goodbye(self._last, code, b"")
        self._gone = True
        raise Http2Error(code, detail)

    def _half(self, number: int, stream: Stream, side: int) -> None:
        """One side of a stream has ended."""
        stream.sides |= side
        if stream.sides == _BOTH:
            del self._streams[number]
            self._guard.done()

    def _remember(self, number: int) -> None:
        self._reset[number] = None
        if len(self._reset) > _REMEMBERED:
            del self._reset[next(iter(self._reset))]
