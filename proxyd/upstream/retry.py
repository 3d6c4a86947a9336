"""Whether an attempt may be made again, and after how long. Pure decisions; the router acts on them.

A side effect is never doubled: what is proven never processed may be repeated by any method; anything else only where
the method is idempotent (RFC 9110 §9.2.2), or where the vendor's idempotency key goes along.
"""

import random
from collections.abc import Callable
from typing import Final

from proxyd.core.errors import Flag, ProxyError, Retry
from proxyd.core.exchange import Exchange
from proxyd.core.headers import is_grpc
from proxyd.core.resilience import CONNECT, RESET, TIMEOUT, RetryPolicy

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
"""RFC 9110 §9.2.2."""

KEYED: Final = frozenset({b"POST", b"PATCH"})
"""Methods that a vendor's idempotency key makes safe to repeat."""

_CONDITION: Final = {
    Flag.UPSTREAM_CONNECT: CONNECT,
    Flag.NO_RESOLUTION: CONNECT,
    Flag.UPSTREAM_DISCONNECT: RESET,
    Flag.UPSTREAM_RESET: RESET,
    Flag.UPSTREAM_TIMEOUT: TIMEOUT,
}
_GATEWAY_TIMEOUT: Final = "504"


def is_repeatable(exchange: Exchange, policy: RetryPolicy) -> bool:
    """Whether a second processing of the request would do no harm, and its body can be sent again."""
    request = exchange.request
    if not request.body.replayable:
        return False
    if request.method in IDEMPOTENT or (policy.key_header and request.method in KEYED):
        return True
    return bool(policy.grpc_idempotent) and is_grpc(request.headers) and _is_listed(request.path, policy)


def may_retry_error(
    exchange: Exchange, error: ProxyError, policy: RetryPolicy, *, has_others: Callable[[], bool] | None = None
) -> bool:
    """Whether another attempt after ``error`` is safe and wanted.

    A timeout is a 504 to the client, so that 504 in ``policy.on`` is about it, too; but only where ``has_others`` says
    that there is another endpoint to go to. One that is alone and slow would only be given more to do.
    """
    if exchange.gone or (exchange.request_bytes and not exchange.request.body.replayable):
        return False
    if error.retry is Retry.ALWAYS:
        return CONNECT in policy.on or exchange.reused
    if error.retry is Retry.IF_REUSED and is_repeatable(exchange, policy):
        return True
    if error.flag is Flag.UPSTREAM_CONNECT:
        return False  # a certificate that does not fit will not fit the next time
    if _CONDITION.get(error.flag) in policy.on:
        return is_repeatable(exchange, policy)
    if error.flag is Flag.UPSTREAM_TIMEOUT and _GATEWAY_TIMEOUT in policy.on:
        return has_others is not None and is_repeatable(exchange, policy) and has_others()
    return False


def may_retry_answer(exchange: Exchange, condition: str, policy: RetryPolicy) -> bool:
    """Whether another attempt after a response is safe and wanted; ``condition``: its status, or gRPC's word for it."""
    return condition in policy.on and is_repeatable(exchange, policy)


def backoff(policy: RetryPolicy, attempt: int, rng: random.Random) -> float:
    """Return the wait before attempt number ``attempt`` + 1: full jitter below an exponential bound."""
    bound: float = min(policy.longest, policy.base * 2**attempt)
    return rng.random() * bound


def _is_listed(path: bytes, policy: RetryPolicy) -> bool:
    """Whether a gRPC method is among those that may be repeated."""
    text = path.decode("latin-1")
    return any(
        text == prefix or text.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
        for prefix in policy.grpc_idempotent
    )
