"""The section of the data plane's limits, which hold for each worker."""

from typing import Annotated, Final

from proxyd.config.http2 import Http2Section
from proxyd.core.limits import Limits
from proxyd.core.units import GIB, HOUR, KIB, MIB, MILLISECOND, MINUTE
from proxyd.reading.readers import Bytes, Seconds, Whole
from proxyd.reading.sections import Section
from proxyd.reading.values import Count, TimeLimit

_LIMITS: Final = Limits()


class LimitsSection(Section):
    """Limits of the data plane, per worker."""

    head_bytes: Annotated[int, Bytes(KIB, 1 * MIB)] = _LIMITS.head_bytes
    """Head of a request or response, trailers included (431)."""
    head_fields: Annotated[int, Whole(8, 10_000)] = _LIMITS.head_fields
    """Header fields in one head (431)."""
    uri_bytes: Annotated[int, Bytes(256, 1 * MIB)] = _LIMITS.uri_bytes
    """Request target (414)."""
    head_timeout: Annotated[float, Seconds(MILLISECOND, HOUR)] = _LIMITS.head_timeout
    """From a head's first byte to its last, and for a service's ClientHello (408)."""
    idle_timeout: TimeLimit = _LIMITS.idle_timeout
    """How long a client's connection is kept without a request."""
    body_rate: Annotated[int, Bytes(0)] = _LIMITS.body_rate
    """Bytes per second below which a request body counts as stalled; 0: no bound."""
    body_rate_grace: Annotated[float, Seconds(100 * MILLISECOND, HOUR)] = _LIMITS.body_rate_grace
    """How long before `body_rate` is enforced."""
    connections: Count = _LIMITS.connections
    """Connections from clients."""
    connections_per_caller: Count = _LIMITS.connections_per_caller
    """Connections from one caller (user id, else address)."""
    interim_responses: Annotated[int, Whole(0, 1000)] = _LIMITS.interim_responses
    """1xx responses passed on in one exchange."""
    read_bytes: Annotated[int, Bytes(4 * KIB, 1 * MIB)] = _LIMITS.read_bytes
    """The largest single read."""
    buffered_bytes: Annotated[int, Bytes(1 * MIB, 64 * GIB)] = _LIMITS.buffered_bytes
    """Body bytes held for all exchanges together."""
    linger_seconds: Annotated[float, Seconds(0.0, MINUTE)] = _LIMITS.linger_seconds
    """How long a connection is still read after an early final response."""
    linger_bytes: Annotated[int, Bytes(0, 64 * MIB)] = _LIMITS.linger_bytes
    """Bytes read and dropped meanwhile."""
    hello_bytes: Annotated[int, Bytes(1 * KIB, 256 * KIB)] = _LIMITS.hello_bytes
    """A TLS ClientHello."""
    silence: Annotated[float, Seconds(10 * MILLISECOND, 30.0)] = _LIMITS.silence
    """Silence of a client after CONNECT that makes an opaque tunnel, for unknown hosts."""
    tunnel_idle: TimeLimit = _LIMITS.tunnel_idle
    """How long a tunnel is kept in which neither side sends."""
    leaves_per_caller: Count = _LIMITS.leaves_per_caller
    """Certificates made for one caller within an hour."""
    contexts: Annotated[int, Whole(8, 100_000)] = _LIMITS.contexts
    """TLS contexts kept for reuse."""
    mask_bytes: Annotated[int, Bytes(0, 64 * MIB)] = _LIMITS.mask_bytes
    """The largest text body that is searched for a reflected secret."""
    cache_bytes: Annotated[int, Bytes(0, 64 * GIB)] = _LIMITS.cache_bytes
    """Answers that are kept for services with a `cache`."""
    http2: Http2Section = Http2Section()
    """Bounds of each HTTP/2 connection."""
