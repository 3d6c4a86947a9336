"""The section with the bounds of HTTP/2 connections that an operator may have reason to change."""

from typing import Annotated, Final

from proxyd.core.limits import Http2Limits
from proxyd.core.units import KIB, MIB
from proxyd.reading.readers import Bytes, Whole
from proxyd.reading.sections import Section

_HTTP2: Final = Http2Limits()


class Http2Section(Section):
    """Bounds of each HTTP/2 connection, with clients and with services. Those that are open keep theirs."""

    streams: Annotated[int, Whole(1, 10_000)] = _HTTP2.streams
    """Requests at a time on one connection of a client; more are refused and may be tried again."""
    stream_window: Annotated[int, Bytes(64 * KIB, 64 * MIB)] = _HTTP2.stream_window
    """Body bytes of one request or response that may be sent ahead of who reads them."""
    connection_window: Annotated[int, Bytes(64 * KIB, 1024 * MIB)] = _HTTP2.connection_window
    """The same for all of a connection together; a client has it while `limits.buffered_bytes` has room for it."""
    output_bytes: Annotated[int, Bytes(16 * KIB, 64 * MIB)] = _HTTP2.output_bytes
    """Body bytes that wait to be written to a connection before its streams are held up."""
    control_frames: Annotated[int, Whole(10, 1_000_000)] = _HTTP2.control_frames
    """Frames without a message (PING, SETTINGS, RST_STREAM ...) in a row until a connection is ended."""
    resets: Annotated[int, Whole(10, 1_000_000)] = _HTTP2.resets
    """Streams in a row that the peer resets, or has refused, until a connection is ended."""
