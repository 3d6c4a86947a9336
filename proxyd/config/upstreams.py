"""The sections that say how hosts are reached: whom to trust, where they may be, how long each phase may take."""

from typing import Annotated, Final

from pydantic import Field

from proxyd.core.limits import PoolLimits
from proxyd.core.service import Timeouts as CoreTimeouts
from proxyd.reading.readers import Whole
from proxyd.reading.sections import Section
from proxyd.reading.values import Cidr, Count, CountOrNone, FilePath, HeaderName, TimeLimit, TimeLimitOrNone

_TIMEOUTS: Final = CoreTimeouts()
_POOL: Final = PoolLimits()


class TlsSection(Section):
    """Whom proxyd trusts."""

    extra_roots: FilePath = ""
    """PEM file of certificates that are trusted besides the system's; relative to the configuration file."""
    publish: FilePath = ""
    """Folder that `ca.pem` and `ca-bundle.pem` are written to as well, at the start; relative to the runtime folder."""


class EgressSection(Section):
    """Where hosts that are no service may be."""

    allow: list[Cidr] = []
    """Ranges that may be dialled although they are not public. Link-local addresses are never dialled."""
    ports: Annotated[list[Annotated[int, Whole(1, 65535, "*", 0)]], Field(min_length=1)] = [80, 443]
    """Ports that may be dialled; `["*"]` is every port."""


class TimeoutsSection(Section):
    """How long each phase of an exchange may take."""

    connect: TimeLimit = _TIMEOUTS.connect
    """Name resolution, TCP and TLS."""
    first_byte: TimeLimitOrNone = _TIMEOUTS.first_byte
    """From the last byte of the request to the first of the response; 0s: no limit."""
    total: TimeLimitOrNone = _TIMEOUTS.total
    """From the head of the request to the end of the response; 0s: no limit."""
    idle: TimeLimitOrNone = _TIMEOUTS.idle
    """Silence within a body; 0s: no limit."""
    per_try: TimeLimitOrNone = _TIMEOUTS.per_try
    """From the beginning of one attempt to its response head; 0s: no limit."""
    tls: TimeLimitOrNone = _TIMEOUTS.tls
    """The TLS handshake alone, within `connect`; 0s: `connect` alone bounds it."""
    head: TimeLimitOrNone = _TIMEOUTS.head
    """From the first byte of the response head to its last; 0s: `first_byte` goes on to the head's end."""
    stream: TimeLimitOrNone = _TIMEOUTS.stream
    """From the response head to the end of the body or of an upgraded connection; 0s: no limit."""
    propagate: HeaderName = _TIMEOUTS.propagate
    """Request header that tells the upstream the milliseconds that the attempt has left, in place of a client's own."""


class PoolSection(Section):
    """Connections to one upstream, counted per worker."""

    connections: Count = _POOL.connections
    """Connections open at a time."""
    pending: CountOrNone = _POOL.pending
    """Exchanges that wait for a connection; more are answered 503."""
    idle: TimeLimit = _POOL.idle
    """How long an idle connection is kept."""
    age: TimeLimit = _POOL.age
    """Age after which a connection takes no further request."""
    requests: CountOrNone = _POOL.requests
    """Requests on one connection; 0: no bound."""
    streams: Annotated[int, Whole(1, 10_000)] = _POOL.streams
    """Requests at a time on one HTTP/2 connection; its peer may allow fewer."""
    ping: TimeLimitOrNone = _POOL.ping
    """Silence on an HTTP/2 connection with requests under way until a PING is sent; 0s: none is."""
    ping_timeout: TimeLimit = _POOL.ping_timeout
    """How long its answer may take before the connection counts as dead."""


class UnknownSection(Section):
    """Policies for hosts that are no service."""

    timeouts: TimeoutsSection = TimeoutsSection()
    """How long each phase may take."""
    pool: PoolSection = PoolSection()
    """Bounds of the connections to one host."""
