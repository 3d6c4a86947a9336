"""The metrics: names, labels, help and histogram buckets, declared once; docs/metrics.md is generated from here."""

import enum
from dataclasses import dataclass
from typing import Final


class Kind(enum.Enum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds in seconds, +Inf left out."""


_LATENCY: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

REQUESTS: Final = Metric("proxyd_requests", Kind.COUNTER, "Exchanges finished.", ("listener", "service", "code"))
DURATION: Final = Metric(
    "proxyd_request_duration_seconds", Kind.HISTOGRAM, "Head's first byte to last byte sent.", ("service",), _LATENCY
)
ERRORS: Final = Metric("proxyd_errors", Kind.COUNTER, "Exchanges that failed, by response flag.", ("service", "flag"))
TUNNELS: Final = Metric("proxyd_tunnels", Kind.COUNTER, "Tunnels ended.", ("listener", "service"))
DOWNSTREAM_BYTES: Final = Metric(
    "proxyd_downstream_bytes", Kind.COUNTER, "Body and tunnel bytes from and to clients.", ("direction",)
)
DOWNSTREAM_CONNECTIONS: Final = Metric(
    "proxyd_downstream_connections", Kind.COUNTER, "Connections accepted.", ("listener",)
)
DOWNSTREAM_ACTIVE: Final = Metric("proxyd_downstream_connections_active", Kind.GAUGE, "Connections open now.")
REFUSED_CONNECTIONS: Final = Metric(
    "proxyd_downstream_connections_refused",
    Kind.COUNTER,
    "Connections closed at once: over a limit (`worker`, `caller`), "
    "from no proxy that is listed (`proxy`), without the header of one (`proxy_header`).",
    ("why",),
)
UPSTREAM_DIALS: Final = Metric(
    "proxyd_upstream_dials", Kind.COUNTER, "Upstream connections tried.", ("service", "result")
)
UPSTREAM_ACTIVE: Final = Metric("proxyd_upstream_connections_active", Kind.GAUGE, "Upstream connections open now.")
UPSTREAM_IDLE: Final = Metric("proxyd_upstream_connections_idle", Kind.GAUGE, "Upstream connections idle in pools.")
RETRIES: Final = Metric("proxyd_retries", Kind.COUNTER, "Attempts after the first.", ("service",))
FALLBACKS: Final = Metric(
    "proxyd_fallbacks", Kind.COUNTER, "Answered by another service, or a static response, in place of one that failed.",
    ("service", "by"),
)  # fmt: skip
OVERFLOWS: Final = Metric(
    "proxyd_overflows",
    Kind.COUNTER,
    "Refused or made to wait by a threshold of `breaker`, or by `adaptive_concurrency`.",
    ("service", "threshold"),
)
SHED: Final = Metric(
    "proxyd_shed_requests", Kind.COUNTER, "Refused because the worker could not keep up.", ("service", "class")
)
LOOP_LAG: Final = Metric("proxyd_loop_lag_seconds", Kind.GAUGE, "By how much a worker's loop runs late, averaged.")
SHED_CLASSES: Final = Metric(
    "proxyd_shed_classes", Kind.GAUGE, "Priority classes that are refused for now: 0 none, 1 low, 2 normal, 3 all."
)
ACCEPT_ERRORS: Final = Metric("proxyd_accept_errors", Kind.COUNTER, "accept() failures, such as EMFILE.", ("error",))
EVENTS_DROPPED: Final = Metric("proxyd_events_dropped", Kind.COUNTER, "Events that no queue had room for.", ("why",))
MASKED: Final = Metric("proxyd_masked_secrets", Kind.COUNTER, "Reflected secrets masked in responses.", ("service",))
RENEWALS: Final = Metric(
    "proxyd_credential_replays", Kind.COUNTER, "Requests repeated since their credential was refused.", ("service",)
)
ANNOUNCED: Final = Metric(
    "proxyd_deprecated_requests", Kind.COUNTER, "Requests whose response said that their endpoint ends.", ("service",)
)
FAULTS: Final = Metric("proxyd_faults_injected", Kind.COUNTER, "Faults injected on purpose.", ("service", "fault"))
LEAVES: Final = Metric("proxyd_leaf_requests", Kind.COUNTER, "Leaf certificates asked for.")

METRICS: Final = {
    metric.name: metric
    for metric in (
        REQUESTS, DURATION, ERRORS, TUNNELS, DOWNSTREAM_BYTES, DOWNSTREAM_CONNECTIONS, DOWNSTREAM_ACTIVE,
        REFUSED_CONNECTIONS, UPSTREAM_DIALS, UPSTREAM_ACTIVE, UPSTREAM_IDLE, RETRIES, ACCEPT_ERRORS, EVENTS_DROPPED,
        MASKED, FAULTS, LEAVES, OVERFLOWS, SHED, LOOP_LAG, SHED_CLASSES, FALLBACKS,
        RENEWALS, ANNOUNCED,
    )
}  # fmt: skip
"""Families that workers keep, by name; counters gain ``_total`` when they are exposed."""

STATS_REJECTED: Final = Metric(
    "proxyd_stats_rejected", Kind.COUNTER, "Entries of workers' statistics that did not fit."
)
EVENTS_MALFORMED: Final = Metric(
    "proxyd_events_malformed", Kind.COUNTER, "Workers' events that did not fit their schema."
)
NOTICES_DROPPED: Final = Metric(
    "proxyd_notices_dropped", Kind.COUNTER, "Workers' notices beyond the rate that is logged."
)
ACCESS_LOG_LOST: Final = Metric("proxyd_access_log_lost", Kind.COUNTER, "Exchanges that the access log did not write.")
SINK_LOST: Final = Metric(
    "proxyd_sink_events_lost", Kind.COUNTER, "Events that a sink had no room for or could not use.", ("sink", "why")
)
SINK_FAILURES: Final = Metric("proxyd_sink_failures", Kind.COUNTER, "Failures of a sink; it is restarted.", ("sink",))
BUILD_INFO: Final = Metric("proxyd_build_info", Kind.GAUGE, "This daemon's version; always 1.", ("version", "python"))
PROCESS_CPU: Final = Metric("proxyd_process_cpu_seconds", Kind.COUNTER, "User and system time.", ("process",))
PROCESS_RESIDENT: Final = Metric("proxyd_process_resident_memory_bytes", Kind.GAUGE, "Resident memory.", ("process",))
PROCESS_PROPORTIONAL: Final = Metric(
    "proxyd_process_proportional_memory_bytes", Kind.GAUGE, "Memory, shared pages divided (PSS).", ("process",)
)
PROCESS_FDS: Final = Metric("proxyd_process_open_fds", Kind.GAUGE, "Open descriptors.", ("process",))
PROCESS_THREADS: Final = Metric("proxyd_process_threads", Kind.GAUGE, "Threads.", ("process",))
PROCESS_START: Final = Metric("proxyd_process_start_time_seconds", Kind.GAUGE, "Start, in Unix time.", ("process",))

SECRET_AGE: Final = Metric("proxyd_secret_age_seconds", Kind.GAUGE, "Age of a secret, where it is known.", ("secret",))
SECRET_EXPIRY: Final = Metric(
    "proxyd_secret_expiry_seconds", Kind.GAUGE, "Until a secret ends, or is over its `max_age`; below 0: since then.",
    ("secret",),
)  # fmt: skip
CERTIFICATE_EXPIRY: Final = Metric(
    "proxyd_certificate_expiry_seconds", Kind.GAUGE,
    "Until a certificate ends, or a list of revoked ones (leaves apart).",
    ("kind", "name"),
)  # fmt: skip

TOKEN_RENEWALS: Final = Metric(
    "proxyd_token_renewals", Kind.COUNTER,
    "Tokens of issuers that were had: `issued`, `shared` by another process through the store, or `failed`.",
    ("service", "result"),
)  # fmt: skip

OWN: Final = (
    TOKEN_RENEWALS, SECRET_AGE, SECRET_EXPIRY, CERTIFICATE_EXPIRY,
    STATS_REJECTED, EVENTS_MALFORMED, NOTICES_DROPPED, ACCESS_LOG_LOST, SINK_LOST, SINK_FAILURES,
    BUILD_INFO, PROCESS_CPU, PROCESS_RESIDENT, PROCESS_PROPORTIONAL, PROCESS_FDS, PROCESS_THREADS, PROCESS_START,
)  # fmt: skip
"""Families that control keeps or reads."""
