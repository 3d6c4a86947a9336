"""What went wrong with an exchange: who, which flag, which status, and whether a retry is safe.

Flags are Envoy's response flags; ``error`` is a Proxy-Status error type (RFC 9209 §2.3).
"""

import enum

from proxyd.core.headers import Headers


class Side(enum.Enum):
    """Whose doing it was."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    PROXYD = "proxyd"


class Flag(enum.Enum):
    """Envoy's response flags, as they stand in the access log; CL, LOOP and VL are our own."""

    DOWNSTREAM_DISCONNECT = "DC"
    DOWNSTREAM_PROTOCOL = "DPE"
    DOWNSTREAM_TIMEOUT = "DT"
    UPSTREAM_CONNECT = "UF"
    UPSTREAM_DISCONNECT = "UC"
    UPSTREAM_PROTOCOL = "UPE"
    UPSTREAM_TIMEOUT = "UT"
    UPSTREAM_OVERFLOW = "UO"
    UPSTREAM_RESET = "UR"
    NO_RESOLUTION = "DF"
    DENIED = "UAEX"
    NO_ROUTE = "NR"
    NO_HEALTHY = "UH"
    IDLE_TIMEOUT = "SI"
    DURATION_TIMEOUT = "UMSDR"
    RATE_LIMITED = "RL"
    OVERLOAD = "OM"
    CONCURRENCY_LIMIT = "CL"
    LOOP = "LOOP"
    DRAINING = "LR"
    CONFIGURATION = "NC"
    FAULT_INJECTED = "FI"
    DELAY_INJECTED = "DI"
    VENDOR_LIMIT = "VL"
    """Ours: it waited, or was refused, so that the vendor's own limit is not exceeded."""
    FALLBACK = "FB"
    """Ours: something else answered in the place of the service that was asked."""
    IDEMPOTENCY = "IK"
    """Ours: what is known of its idempotency key forbids the request."""


class Retry(enum.Enum):
    """Whether another attempt can double a side effect."""

    ALWAYS = "always"
    """Proven never processed: any method may be tried again."""
    IF_REUSED = "if_reused"
    """A reused connection died: idempotent methods may be tried again."""
    NEVER = "never"


class ProxyError(Exception):
    """One failure of an exchange. It becomes a status in one place only, at the downstream edge."""

    def __init__(
        self,
        status: int,
        flag: Flag,
        error: str,
        detail: str,
        *,
        side: Side = Side.PROXYD,
        retry: Retry = Retry.NEVER,
        headers: Headers | None = None,
        stale: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.flag = flag
        self.error = error
        self.detail = detail
        self.side = side
        self.retry = retry
        self.headers: Headers = headers or []
        """Fields of the answer that belong to this error alone."""
        self.stale = stale
        """A kept connection had been closed meanwhile: nothing is said of the upstream."""

    def __repr__(self) -> str:
        return f"ProxyError({self.status}, {self.flag.value}, {self.error}, {self.detail!r})"


def bad_request(detail: str, status: int = 400) -> ProxyError:
    """A request that the client must mend: malformed, ambiguous or over a limit."""
    return ProxyError(status, Flag.DOWNSTREAM_PROTOCOL, "http_request_error", detail, side=Side.DOWNSTREAM)


def denied(detail: str, status: int = 403) -> ProxyError:
    """A request that a rule refuses."""
    return ProxyError(status, Flag.DENIED, "http_request_denied", detail)


def misconfigured(detail: str) -> ProxyError:
    """A request for which the configuration, or a secret that it names, is not fit."""
    return ProxyError(500, Flag.CONFIGURATION, "proxy_configuration_error", detail)


def too_long() -> ProxyError:
    """A response body or an upgraded connection that lasted longer than it may."""
    detail = "the response lasted longer than `stream`"
    return ProxyError(504, Flag.DURATION_TIMEOUT, "http_response_timeout", detail)


def bad_response(detail: str, error: str = "http_protocol_error") -> ProxyError:
    """A response that the upstream got wrong."""
    return ProxyError(502, Flag.UPSTREAM_PROTOCOL, error, detail, side=Side.UPSTREAM)
