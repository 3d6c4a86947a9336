"""By when an attempt's stream must be heard of, and what is said of one that was ended by our own doing."""

from typing import Final, Protocol

from proxyd.core.errors import Flag, ProxyError, Side, too_long
from proxyd.core.exchange import Exchange
from proxyd.core.headers import first
from proxyd.core.message import HTTP2
from proxyd.net.stream import NEVER

FINE: Final = 1.0
"""Waits shorter than this get a real cancel scope; longer ones are left to the reaper's sweep."""


class Bounded(Protocol):
    """A connection's stream, or one of many on a connection."""

    deadline: float
    late: str


def arm(stream: Bounded, exchange: Exchange, now: float, seconds: float, late: str) -> None:
    """Set the stream's deadline ``seconds`` from now, the exchange's own at the latest."""
    deadline = now + seconds if seconds else NEVER
    if exchange.try_deadline and exchange.try_deadline < deadline:
        deadline, late = exchange.try_deadline, "per_try"
    if exchange.deadline and exchange.deadline < deadline:
        stream.deadline = exchange.deadline
        stream.late = "total"
    else:
        stream.deadline = deadline
        stream.late = late


def has_own_deadline(exchange: Exchange) -> bool:
    """Whether the client said how long it waits (gRPC)."""
    return exchange.request.version == HTTP2 and first(exchange.request.headers, b"grpc-timeout") is not None


def impatient() -> ProxyError:
    """Return the error for a call whose client waits no longer: its choice, and no failure of the upstream's."""
    detail = "the call took longer than its grpc-timeout"
    return ProxyError(504, Flag.DOWNSTREAM_TIMEOUT, "http_response_timeout", detail, side=Side.DOWNSTREAM)


def left() -> ProxyError:
    """Return the error for an exchange whose client is not there any more."""
    return ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", "the client left", side=Side.DOWNSTREAM)


def late_error(exchange: Exchange, reason: str) -> ProxyError:
    """Return the error for a stream that was closed for ``reason`` by our own doing."""
    if exchange.error is not None and reason == "upload":
        return exchange.error
    if reason == "abandoned":
        return left()
    if reason == "total":
        total = exchange.route.timeouts.total
        if not total or exchange.deadline < exchange.started + total:
            return impatient() if has_own_deadline(exchange) else too_long()
        return ProxyError(504, Flag.DURATION_TIMEOUT, "http_response_timeout", "the exchange took longer than `total`")
    if reason == "first_byte":
        detail = "no response within `first_byte`"
        return ProxyError(504, Flag.UPSTREAM_TIMEOUT, "http_response_timeout", detail, side=Side.UPSTREAM)
    if reason == "per_try":
        detail = "no response within `per_try`"
        return ProxyError(504, Flag.UPSTREAM_TIMEOUT, "http_response_timeout", detail, side=Side.UPSTREAM)
    if reason == "head":
        detail = "the response head was not complete within `head`"
        return ProxyError(504, Flag.UPSTREAM_TIMEOUT, "http_response_timeout", detail, side=Side.UPSTREAM)
    if reason == "idle":
        detail = "nothing moved within `idle`"
        return ProxyError(504, Flag.IDLE_TIMEOUT, "connection_read_timeout", detail, side=Side.UPSTREAM)
    return ProxyError(503, Flag.DRAINING, "proxy_internal_response", f"the exchange was cut: {reason}")
