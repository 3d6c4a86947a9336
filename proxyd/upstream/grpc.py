"""What gRPC says of attempts in fields of its own: how long a call may take, how it ended, when to come again.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. A call that fails before its first message mostly ends
by a head alone ("trailers-only"): only such an end is seen before anything of the response was passed on, so only such
ends are repeated, and counted for the endpoint. Envoy does the same.
"""

import re
from typing import Final

from trio import current_time

from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers, first, is_grpc
from proxyd.core.message import Response
from proxyd.core.resilience import GRPC_CONDITIONS
from proxyd.upstream.http2_body import ResponseBody

_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_DEADLINE_EXCEEDED: Final = 4
_CLIENT_LEFT: Final = 499
_MOST: Final = 99_999_999
"""Of a value in grpc-timeout."""

_HTTP_STATUSES: Final = {
    0: 200,
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
"""Envoy's Grpc::Utility::grpcToHttpStatus."""


def bound(exchange: Exchange) -> None:
    """Let a call take no longer than its client waits for it."""
    headers = exchange.request.headers
    if not is_grpc(headers):
        return
    seconds = timeout(headers)
    if seconds is not None:
        ends = exchange.started + seconds
        if not exchange.deadline or ends < exchange.deadline:
            exchange.deadline = ends


def timeout(headers: Headers) -> float | None:
    """Return the seconds of grpc-timeout; None where there is none, or where it makes no sense."""
    value = first(headers, b"grpc-timeout")
    found = _TIMEOUT(value) if value is not None else None
    return int(found[1]) * _UNITS[found[2]] if found is not None else None


def with_time_left(exchange: Exchange, headers: Headers) -> Headers:
    """Return the headers with what is left of grpc-timeout, where the client sent one."""
    if timeout(headers) is None or not is_grpc(headers):
        return headers
    ends = exchange.deadline
    if exchange.try_deadline:
        ends = min(ends, exchange.try_deadline)
    left = max(1, round((ends - current_time()) * 1000))
    value = b"%dm" % left if left <= _MOST else b"%dS" % min(left // 1000, _MOST)
    return [(name, value if name == b"grpc-timeout" else old) for name, old in headers]


def http_status(exchange: Exchange, response: Response) -> int:
    """Return the status of a response, of one that is no more than gRPC's status the one of HTTP for it."""
    code = _code(response)
    if code == _DEADLINE_EXCEEDED and timeout(exchange.request.headers) is not None:
        return _CLIENT_LEFT  # the client's choice, and no failure of the upstream's
    return response.status if code is None else _HTTP_STATUSES.get(code, 500)


def condition(response: Response) -> str:
    """Return what ``retry.on`` calls the end of a call."""
    code = _code(response)
    return str(response.status) if code is None else GRPC_CONDITIONS.get(code, "")


def pushback(response: Response) -> float | None:
    """Return the seconds after which the server wants the call again, None where it says nothing; negative: never."""
    value = first(_last_fields(response), b"grpc-retry-pushback-ms")
    if value is None:
        return None
    return int(value) / 1000 if value.isdigit() and len(value) <= 10 else -1.0


def _code(response: Response) -> int | None:
    if response.status != 200 or not is_grpc(response.headers):
        return None
    value = first(_last_fields(response), b"grpc-status")
    return int(value) if value is not None and value.isdigit() and len(value) <= 3 else None


def _last_fields(response: Response) -> Headers:
    """Return the fields that end a call without a message: of a head alone, or of trailers that came right after it."""
    body = response.body
    if isinstance(body, ResponseBody) and body.is_bare:
        return body.trailers
    return response.headers
