"""The sections of a service that say how attempts are spread, repeated and held back."""

from typing import Annotated, Final, Literal

from proxyd.core.limits import Overload, PoolLimits
from proxyd.core.resilience import (
    AdaptiveConcurrency,
    Balance,
    BreakerPolicy,
    HashBy,
    HashKey,
    HealthPolicy,
    HedgePolicy,
    OutlierPolicy,
    Resilience,
    RetryPolicy,
    Thresholds,
)
from proxyd.core.service import Endpoint
from proxyd.core.units import DAY, HOUR, MILLISECOND, MINUTE
from proxyd.reading import addresses, names
from proxyd.reading.readers import QuantileOrSeconds, Seconds, Share, Text, Whole
from proxyd.reading.sections import Section

_ADAPTIVE: Final = AdaptiveConcurrency()
_RETRY: Final = RetryPolicy()
_BREAKER: Final = BreakerPolicy()
_HEALTH: Final = HealthPolicy()
_HEDGE: Final = HedgePolicy()
_OUTLIER: Final = OutlierPolicy()
_THRESHOLDS: Final = Thresholds()
_OVERLOAD: Final = Overload()
_WHOLE: Final = Resilience()

Condition = Annotated[str, Text(names.retry_condition, "condition", names.CONDITION_PATTERN)]


class EndpointSection(Section):
    """One address to dial."""

    address: Annotated[Endpoint, Text(addresses.endpoint, "host:port")]
    """Address and port."""
    weight: Annotated[int, Whole(1, 1000)] = 1
    """Its share among the endpoints of its priority."""
    priority: Annotated[int, Whole(0, 15)] = 0
    """0 is used first; higher numbers carry what lower ones cannot."""

    def compiled(self) -> Endpoint:
        """Return the noun."""
        return Endpoint(self.address.host, self.address.port, self.weight, self.priority)


class HashSection(Section):
    """What `balance: hash` goes by. Without it: the caller."""

    by: Literal["caller", "path", "header", "cookie"] = "caller"
    """Where the key is found."""
    name: Annotated[str, Text(names.header_name, "name", names.FIELD_NAME_PATTERN)] = ""
    """Name of the header or cookie."""

    def compiled(self) -> HashBy:
        """Return the noun."""
        return HashBy(HashKey(self.by), self.name.lower() if self.by == "header" else self.name)


class BackoffSection(Section):
    """The wait before another attempt: drawn from 0 to base * 2^attempts."""

    base: Annotated[float, Seconds(MILLISECOND, MINUTE)] = _RETRY.base
    """The first bound is twice this."""
    max: Annotated[float, Seconds(MILLISECOND, 5 * MINUTE)] = _RETRY.longest
    """No bound is higher."""


class BudgetSection(Section):
    """How many retries there may be over the last ten seconds."""

    ratio: Annotated[float, Share(0, 1000)] = _RETRY.ratio
    """Share of requests."""
    min_per_second: Annotated[int, Whole(0, 10_000)] = int(_RETRY.min_per_second)
    """Retries each second besides."""


class RetrySection(Section):
    """When a failed attempt is made again. A side effect is never doubled: see the guide on resilience."""

    attempts: Annotated[int, Whole(1, 10)] = _RETRY.attempts
    """In all, the first included; 1: no retries."""
    on: list[Condition] = list(_RETRY.on)
    """`connect`, `reset`, `timeout`, statuses (504: a timeout, too, where others are left), or ends of gRPC calls.

    Those are `cancelled`, `deadline-exceeded`, `internal`, `resource-exhausted` and `unavailable`."""
    backoff: BackoffSection = BackoffSection()
    """How long the wait is."""
    budget: BudgetSection = BudgetSection()
    """How many there may be in all."""
    max_retry_after: Annotated[float, Seconds(0.0, HOUR)] = _RETRY.patience
    """The longest Retry-After that is waited for; a longer one goes to the client with its answer."""
    idempotency_key: Annotated[str, Text(names.header_name, "header", names.FIELD_NAME_PATTERN)] = ""
    """The vendor's header for idempotency keys: POST and PATCH carry one and may be repeated."""
    grpc_idempotent: list[Annotated[str, Text(addresses.url_path, "path")]] = []
    """gRPC methods that may be repeated: `/package.Service/Method`, `/package.Service` for all of it, `/` for every."""

    def compiled(self) -> RetryPolicy:
        """Return the noun."""
        return RetryPolicy(
            attempts=self.attempts,
            on=tuple(self.on),
            base=self.backoff.base,
            longest=self.backoff.max,
            ratio=self.budget.ratio,
            min_per_second=float(self.budget.min_per_second),
            patience=self.max_retry_after,
            key_header=self.idempotency_key.lower(),
            grpc_idempotent=tuple(self.grpc_idempotent),
        )


class BreakerSection(Section):
    """When a service, or one endpoint of several, is left alone for a while, and how much it gets at a time."""

    enabled: bool = True
    """`false`: never for failures; the thresholds hold all the same."""
    consecutive_failures: Annotated[int, Whole(1, 100_000)] = _BREAKER.consecutive_failures
    """Failures in a row (5xx, no connection, reset, timeout) that open it."""
    error_rate: Annotated[float, Share(1, 100)] = _BREAKER.error_rate
    """Share of failures within `window` that opens it."""
    volume: Annotated[int, Whole(1, 1_000_000)] = _BREAKER.volume
    """Calls that `window` must hold before the share counts."""
    window: Annotated[float, Seconds(1.0, HOUR)] = _BREAKER.window
    """What `error_rate` looks back on."""
    slow: Annotated[float, Seconds(0.0, HOUR)] = _BREAKER.slow
    """A response head that takes longer counts as a failure; 0s: none does."""
    open_for: Annotated[float, Seconds(10 * MILLISECOND, HOUR)] = _BREAKER.open_for
    """How long nothing is let through."""
    probes: Annotated[int, Whole(1, 1000)] = _BREAKER.probes
    """Calls let through at a time after that, and successes that close it."""
    max_connections: Annotated[int, Whole(1, 1_000_000)] | None = None
    """Connections in all workers together. By default 1,024, or `pool.connections` where that is more."""
    max_pending: Annotated[int, Whole(1, 1_000_000)] | None = None
    """Requests that wait for a connection. By default 1,024, or `pool.pending` where that is more."""
    max_requests: Annotated[int, Whole(1, 1_000_000)] | None = None
    """Requests under way. By default as many as the two above together."""
    max_retries: Annotated[int, Whole(1, 1_000_000)] = _THRESHOLDS.retries
    """Requests in a second or further attempt."""

    def thresholds(self, pool: PoolLimits) -> Thresholds:
        """Return what may be under way at a time; `enabled` is not about that."""
        connections = self.max_connections or max(_THRESHOLDS.connections, pool.connections)
        pending = self.max_pending or max(_THRESHOLDS.pending, pool.pending)
        return Thresholds(connections, pending, self.max_requests or connections + pending, self.max_retries)

    def compiled(self) -> BreakerPolicy | None:
        """Return the noun, None where it is off."""
        if not self.enabled:
            return None
        return BreakerPolicy(
            self.consecutive_failures,
            self.error_rate,
            self.volume,
            self.window,
            self.slow,
            self.open_for,
            self.probes,
        )


class OutlierSection(Section):
    """When one endpoint among several is taken out."""

    enabled: bool = True
    """`false`: never."""
    consecutive_5xx: Annotated[int, Whole(0, 100_000)] = _OUTLIER.consecutive_5xx
    """5xx and failures without a status, in a row; 0: off."""
    consecutive_gateway: Annotated[int, Whole(0, 100_000)] = _OUTLIER.consecutive_gateway
    """502, 503, 504 and failures without a status, in a row; 0: off."""
    consecutive_local: Annotated[int, Whole(0, 100_000)] = _OUTLIER.consecutive_local
    """Failures without a status, in a row; 0: off."""
    interval: Annotated[float, Seconds(100 * MILLISECOND, HOUR)] = _OUTLIER.interval
    """Between two looks at rates."""
    base_ejection: Annotated[float, Seconds(10 * MILLISECOND, DAY)] = _OUTLIER.base_ejection
    """The first ejection; each further one is longer by this."""
    max_ejection: Annotated[float, Seconds(10 * MILLISECOND, DAY)] = _OUTLIER.max_ejection
    """The longest."""
    max_ejected: Annotated[float, Share(0, 100)] = _OUTLIER.max_ejected
    """Share of the endpoints of one priority. The last one is never taken out."""
    failure_rate: Annotated[float, Share(0, 100)] = _OUTLIER.failure_rate
    """Share of failures within an interval; 0%: off."""
    failure_volume: Annotated[int, Whole(1, 1_000_000)] = _OUTLIER.failure_volume
    """Calls that an interval must hold before the share counts."""

    def compiled(self) -> OutlierPolicy | None:
        """Return the noun, None where it is off."""
        if not self.enabled:
            return None
        return OutlierPolicy(**self.model_dump(exclude={"enabled"}))


class HealthSection(Section):
    """Active checks of every endpoint."""

    path: Annotated[str, Text(addresses.url_path, "path")] = ""
    """GET this path; without it a connection, with TLS where the base URL is https, is enough."""
    interval: Annotated[float, Seconds(100 * MILLISECOND, HOUR)] = _HEALTH.interval
    """Between two checks, give or take a fifth."""
    timeout: Annotated[float, Seconds(10 * MILLISECOND, 5 * MINUTE)] = _HEALTH.timeout
    """How long one may take."""
    healthy: Annotated[int, Whole(1, 1000)] = _HEALTH.healthy
    """Good checks in a row that bring an endpoint back."""
    unhealthy: Annotated[int, Whole(1, 1000)] = _HEALTH.unhealthy
    """Failed checks in a row that take it out."""

    def compiled(self) -> HealthPolicy:
        """Return the noun."""
        return HealthPolicy(self.path, self.interval, self.timeout, self.healthy, self.unhealthy)


class HedgeSection(Section):
    """A second attempt beside a slow one, for requests that may be repeated; the first good answer counts."""

    after: Annotated[float, QuantileOrSeconds(MILLISECOND, MINUTE)] = _HEDGE.quantile
    """What the first attempt has alone: a quantile of the service's own recent latencies, or a duration."""
    budget: Annotated[float, Share(0, 100)] = _HEDGE.budget
    """Share of requests over the last ten seconds that may have one."""

    def compiled(self) -> HedgePolicy:
        """Return the noun."""
        return HedgePolicy(max(0.0, self.after), max(0.0, -self.after), self.budget)


class AdaptiveConcurrencySection(Section):
    """A bound of the requests that a worker has under way, found by the service's latency; others get 503 at once."""

    enabled: bool = True
    """`false`: there is none."""
    percentile: Annotated[float, Share(1, 99)] = _ADAPTIVE.percentile
    """Of the latencies that are compared: 50% is the median."""
    buffer: Annotated[float, Share(0, 1000)] = _ADAPTIVE.buffer
    """By this share may answers be slower than those of an unloaded service before the limit shrinks."""
    min_limit: Annotated[int, Whole(1, 100_000)] = _ADAPTIVE.min_limit
    """The limit is never lower, and this low while the unloaded latency is measured."""
    max_limit: Annotated[int, Whole(1, 100_000)] = _ADAPTIVE.max_limit
    """The limit is never higher."""
    update_interval: Annotated[float, Seconds(10 * MILLISECOND, MINUTE)] = _ADAPTIVE.update_interval
    """Between two updates of the limit."""
    min_rtt_interval: Annotated[float, Seconds(1.0, DAY)] = _ADAPTIVE.min_rtt_interval
    """Between two measurements of the unloaded latency; one takes a twentieth of it at most."""
    min_rtt_requests: Annotated[int, Whole(5, 10_000)] = _ADAPTIVE.min_rtt_requests
    """Requests that a measurement goes by."""
    jitter: Annotated[float, Share(0, 100)] = _ADAPTIVE.jitter
    """By this share of the interval at most a measurement is late, so that services are not measured at once."""

    def compiled(self) -> AdaptiveConcurrency | None:
        """Return the noun, None where it is off."""
        return AdaptiveConcurrency(**self.model_dump(exclude={"enabled"})) if self.enabled else None


class OverloadSection(Section):
    """When requests are refused because a worker cannot keep up, the lowest `priority_class` first."""

    lag: Annotated[float, Seconds(0.0, MINUTE)] = _OVERLOAD.lag
    """By how much a worker's loop runs late, averaged over half a second; 0s: nothing is refused."""
    after: Annotated[float, Seconds(100 * MILLISECOND, HOUR)] = _OVERLOAD.after
    """For how long, until a class is refused, and then the next."""


class ResilienceKeys(Section):
    """The keys of a service; a base of its section."""

    balance: Literal["peak_ewma", "least_request", "round_robin", "random", "hash"] = _WHOLE.balance.value
    """How an endpoint is chosen among several."""
    hash: HashSection = HashSection()
    """What `balance: hash` goes by."""
    slow_start: Annotated[float, Seconds(0.0, HOUR)] = _WHOLE.slow_start
    """Time in which the weight of a new or recovered endpoint grows to its full; 0s: at once."""
    panic: Annotated[float, Share(0, 100)] = _WHOLE.panic
    """Of four and more endpoints: below this share of available ones, all are used."""
    retry: RetrySection = RetrySection()
    """When a failed attempt is made again."""
    breaker: BreakerSection = BreakerSection()
    """When the service is left alone for a while."""
    outlier: OutlierSection = OutlierSection()
    """When one endpoint is taken out."""
    hedge: HedgeSection | None = None
    """A second attempt beside a slow one. Without it: none."""
    adaptive_concurrency: AdaptiveConcurrencySection | None = None
    """Find out how many requests the service answers without a queue, and refuse others. Without it: off."""
    health: HealthSection | None = None
    """Active checks of `endpoints`. Without it: none."""

    def resilience(self, pool: PoolLimits) -> Resilience:
        """Return the noun."""
        return Resilience(
            balance=Balance(self.balance),
            hash_by=HashBy(
                HashKey(self.hash.by), self.hash.name.lower() if self.hash.by == "header" else self.hash.name
            ),
            slow_start=self.slow_start,
            panic=self.panic,
            retry=self.retry.compiled(),
            breaker=self.breaker.compiled(),
            thresholds=self.breaker.thresholds(pool),
            outlier=self.outlier.compiled(),
            hedge=self.hedge.compiled() if self.hedge is not None else None,
            adaptive_concurrency=self.adaptive_concurrency.compiled() if self.adaptive_concurrency else None,
            health=self.health.compiled() if self.health is not None else None,
        )
