"""Every limit of the data plane that is not a service's own, each with its number and precedent."""

from dataclasses import dataclass, field

from proxyd.core.units import KIB, MIB, MINUTE


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """Bounds of one HTTP/2 connection, either side."""

    streams: int = 100
    """Streams that the peer may have open at a time (RFC 9113 §6.5.2 advises no fewer)."""
    frame_bytes: int = 16 * KIB
    """The largest frame taken (the protocol's own default)."""
    stream_window: int = 256 * KIB
    """Body bytes of one stream that are held until they are consumed."""
    connection_window: int = 1 * MIB
    """Body bytes of all streams of a connection that are held until they are consumed."""
    head_bytes: int = 60 * KIB
    """A field section as RFC 9113 §10.5.1 counts it: names, values and 32 for each field."""
    output_bytes: int = 256 * KIB
    """What waits to be written before streams stop adding to it and no more is read."""
    continuations: int = 8
    """CONTINUATION frames of one field section, of twice ``head_bytes`` in all (nghttp2's default, and so Envoy's)."""
    empty_frames: int = 1
    """DATA frames in a row that hold and end nothing (Envoy max_consecutive_inbound_frames_with_empty_payload)."""
    priorities: int = 100
    """PRIORITY frames per stream (Envoy max_inbound_priority_frames_per_stream)."""
    window_updates: int = 10
    """WINDOW_UPDATE frames per DATA frame sent (Envoy max_inbound_window_update_frames_per_data_frame_sent)."""
    settings: int = 32
    """Entries of one SETTINGS frame (nghttp2's default)."""
    control_frames: int = 1000
    """PING, SETTINGS, RST_STREAM and unknown frames in a row (Envoy max_outbound_control_frames); each frame that
    carries a message gives one back, and each second ``calm_rate``."""
    resets: int = 500
    """Streams in a row that the peer resets, has us reset, or opens above the limit (Envoy's premature resets); each
    stream that ends as it should gives one back, and each second ``calm_rate``."""
    calm_rate: int = 33
    """By the second (nghttp2's stream reset rate)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one worker's listeners and connections; the configuration's ``limits:`` section."""

    head_bytes: int = 60 * KIB
    """Request or response head, start line and trailers included (431; Envoy max_request_headers_kb)."""
    head_fields: int = 100
    """Header fields in one head (431; Envoy max_headers_count)."""
    uri_bytes: int = 8 * KIB
    """Request target (414; nginx large_client_header_buffers)."""
    head_timeout: float = 10.0
    """From a head's first byte to its last, and for a service's ClientHello (408)."""
    idle_timeout: float = 60.0
    """A kept-alive downstream connection without a request."""
    body_rate: int = 240
    """Bytes per second, averaged over ``body_rate_grace``, below which a body counts as stalled (Kestrel)."""
    body_rate_grace: float = 5.0
    """Seconds before ``body_rate`` is enforced."""
    connections: int = 8192
    """Downstream connections per worker."""
    connections_per_caller: int = 4096
    """Downstream connections per caller (uid, else address) and worker."""
    interim_responses: int = 10
    """1xx responses passed on in one exchange."""
    read_bytes: int = 64 * KIB
    """The largest single read; the smallest buffer is 4 KiB."""
    buffered_bytes: int = 64 * MIB
    """Body bytes that one worker holds for all exchanges together."""
    linger_seconds: float = 2.0
    """Lingering close after an early final response."""
    linger_bytes: int = 256 * KIB
    """Bytes read and dropped in a lingering close."""
    hello_bytes: int = 32 * KIB
    """A ClientHello."""
    silence: float = 0.3
    """Seconds of silence after CONNECT that make an opaque tunnel for unknown hosts (server-first protocols)."""
    tunnel_idle: float = 60 * MINUTE
    """A tunnel in which neither side sends (Envoy TCP proxy idle_timeout)."""
    leaves_per_caller: int = 256
    """Leaf certificates minted for one caller within an hour."""
    contexts: int = 512
    """TLS contexts cached per worker."""
    mask_bytes: int = 1 * MIB
    """The largest identity-coded text body that is searched for a reflected secret."""
    cache_bytes: int = 64 * MIB
    """Answers that one worker keeps for services with a ``cache``."""
    http2: Http2Limits = field(default_factory=Http2Limits)
    """Of each HTTP/2 connection, with clients and with services."""


@dataclass(frozen=True, slots=True)
class Overload:
    """When a worker refuses requests because its loop cannot keep up; the configuration's ``overload:`` section."""

    lag: float = 0.5
    """Seconds by which the loop runs late; 0: never. A loop that keeps up is late by a few milliseconds."""
    after: float = 1.0
    """Seconds above ``lag`` until a class is refused, then the next; below half of it until one is let in again."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one upstream pool (one PoolKey)."""

    connections: int = 256
    pending: int = 1024
    """Exchanges waiting for a connection."""
    idle: float = 60.0
    """Seconds that an idle connection is kept."""
    age: float = 3600.0
    """Seconds after which a connection takes no further request."""
    requests: int = 0
    """Requests on one connection, 0 for no bound."""
    streams: int = 100
    """Exchanges at a time on one HTTP/2 connection; fewer where its peer says so."""
    ping: float = 0.0
    """Seconds of silence on an HTTP/2 connection with exchanges under way, until it is asked by PING; 0: never."""
    ping_timeout: float = 10.0
    """Seconds that the answer may take."""
