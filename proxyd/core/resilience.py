"""A service's policies against failure: how attempts are spread, repeated, and held back. Defaults are on."""

import enum
from dataclasses import dataclass
from typing import Final

CONNECT: Final = "connect"
RESET: Final = "reset"
TIMEOUT: Final = "timeout"
CONDITIONS: Final = (CONNECT, RESET, TIMEOUT)
"""Failures without a status that ``retry.on`` can name."""

GRPC_CONDITIONS: Final = {
    1: "cancelled",
    4: "deadline-exceeded",
    8: "resource-exhausted",
    13: "internal",
    14: "unavailable",
}
"""Ends of gRPC calls that ``retry.on`` can name, as Envoy calls them, by grpc-status."""


class Balance(enum.Enum):
    """How an endpoint is chosen."""

    PEAK_EWMA = "peak_ewma"
    LEAST_REQUEST = "least_request"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    HASH = "hash"


class HashKey(enum.Enum):
    """What consistent hashing goes by."""

    CALLER = "caller"
    PATH = "path"
    HEADER = "header"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class HashBy:
    """Where the key of consistent hashing is found; ``name`` is the header's or cookie's."""

    kind: HashKey = HashKey.CALLER
    name: str = ""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is made again, and how often at most."""

    attempts: int = 3
    """In all, the first included."""
    on: tuple[str, ...] = (CONNECT, RESET, "502", "503", "504")
    """``connect``, ``reset``, ``timeout`` (first byte or per try), a status, or one of GRPC_CONDITIONS."""
    base: float = 0.025
    """Seconds: the n-th wait is drawn from 0 to ``base`` * 2^n (Envoy's full jitter) ..."""
    longest: float = 1.0
    """... and never longer than this."""
    ratio: float = 0.2
    """Retries per request over the last ten seconds (Linkerd's budget) ..."""
    min_per_second: float = 3.0
    """... and this many each second besides."""
    patience: float = 10.0
    """The longest Retry-After that is waited for; a longer one is the client's to obey."""
    key_header: str = ""
    """Field of the vendor's idempotency key: with it POST and PATCH are safe to repeat."""
    grpc_idempotent: tuple[str, ...] = ()
    """gRPC methods that are safe to repeat: prefixes of the path by whole segments."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a service, or one endpoint of it, is left alone for a while. 429 is the limiter's business."""

    consecutive_failures: int = 5
    error_rate: float = 0.5
    """Share of failures within ``window`` ..."""
    volume: int = 20
    """... once it holds this many calls."""
    window: float = 10.0
    slow: float = 0.0
    """Calls whose head takes longer count as failures; 0: none does."""
    open_for: float = 1.0
    probes: int = 1
    """Calls that are let through at a time while it is half open, and successes that close it."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How much of one service may be under way at a time, in all workers together."""

    connections: int = 1024
    """To its endpoints (Envoy's number)."""
    pending: int = 1024
    """Requests that wait for a connection (Envoy's number)."""
    requests: int = 2048
    """Connections and pending together: what HTTP/1.1 could not use anyway is refused at once."""
    retries: int = 256
    """Exchanges in a further attempt. Envoy's 3 fails requests whenever one endpoint dies: the retry budget is the
    finer bound, this one ends what it lets through in a burst."""


@dataclass(frozen=True, slots=True)
class OutlierPolicy:
    """When one endpoint among several is taken out (Envoy's outlier detection)."""

    consecutive_5xx: int = 5
    consecutive_gateway: int = 5
    """502, 503, 504, and failures without a status."""
    consecutive_local: int = 5
    """Failures without a status: connect, reset, timeout."""
    interval: float = 10.0
    """Between two looks at success rates."""
    base_ejection: float = 30.0
    """Grows with each ejection, shrinks with each healthy interval."""
    max_ejection: float = 300.0
    max_ejected: float = 0.5
    """Share of a priority group; the last available endpoint is never taken out."""
    deviations: float = 1.9
    """Standard deviations below the mean success rate; 0: off. Wants ``rate_hosts`` endpoints with ``rate_volume``."""
    rate_hosts: int = 5
    rate_volume: int = 100
    failure_rate: float = 0.85
    """Share of failures within an interval, with ``failure_volume`` calls; 0: off."""
    failure_volume: int = 50


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """Active checks of every endpoint."""

    path: str = ""
    """GET this path; empty: a TCP connection (and TLS) is enough."""
    interval: float = 5.0
    timeout: float = 2.0
    healthy: int = 2
    """Successes in a row that bring an endpoint back."""
    unhealthy: int = 3
    """Failures in a row that take it out."""
    statuses: tuple[int, int] = (200, 399)
    """The range that counts as healthy."""


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """When a second attempt is begun beside a slow first one, for requests that may be repeated."""

    quantile: float = 0.97
    """The first attempt has this share of the service's recent latencies; 0: ``seconds`` say how long ..."""
    seconds: float = 0.0
    budget: float = 0.04
    """Share of requests over the last ten seconds that may be hedged."""


@dataclass(frozen=True, slots=True)
class AdaptiveConcurrency:
    """A bound of requests under way, found by latency (Envoy's gradient controller and its defaults)."""

    percentile: float = 0.5
    """Of the latencies, both of late and of an unloaded service."""
    update_interval: float = 0.1
    """Seconds between two updates of the limit."""
    min_limit: int = 3
    """The limit is never lower; it is what is under way while the unloaded latency is measured."""
    max_limit: int = 1000
    min_rtt_interval: float = 60.0
    """Seconds between two measurements of the unloaded latency ..."""
    min_rtt_requests: int = 50
    """... by so many requests ..."""
    jitter: float = 0.15
    """... each later by up to this share of the interval."""
    buffer: float = 0.25
    """By this share may answers be slower than the unloaded latency."""


class Hold(enum.Enum):
    """What an operator can hold an endpoint or a breaker in."""

    OPEN = "open"
    CLOSED = "closed"
    UP = "up"
    DOWN = "down"

    @property
    def is_of_breaker(self) -> bool:
        """Whether it is about a breaker; else about an endpoint's health."""
        return self in (Hold.OPEN, Hold.CLOSED)


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's word on one endpoint of a service, or without ``host`` on the service's breaker."""

    service: str
    host: str
    port: int
    hold: Hold


@dataclass(frozen=True, slots=True)
class Resilience:
    """All of it, for one service."""

    balance: Balance = Balance.PEAK_EWMA
    hash_by: HashBy = HashBy()
    slow_start: float = 0.0
    """Seconds in which a new or recovered endpoint's weight grows to its full; 0: at once."""
    panic: float = 0.5
    """Below this share of available endpoints in a group, all of it is used again (Envoy's panic threshold)."""
    retry: RetryPolicy = RetryPolicy()
    breaker: BreakerPolicy | None = BreakerPolicy()
    thresholds: Thresholds = Thresholds()
    outlier: OutlierPolicy | None = OutlierPolicy()
    health: HealthPolicy | None = None
    hedge: HedgePolicy | None = None
    adaptive_concurrency: AdaptiveConcurrency | None = None
