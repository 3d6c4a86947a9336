"""Injected faults, at work: in a route's chain, or in each of its attempts, while one of them concerns the route."""

import random
from collections.abc import Callable, Sequence
from time import time
from typing import Final

from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Side
from proxyd.core.exchange import Exchange
from proxyd.core.fault import BODIES, Fault, FaultKind, FaultPlace
from proxyd.core.headers import Headers
from proxyd.core.message import Body, BytesBody, Origin, Response
from proxyd.core.route import Filter
from proxyd.filters.access import Conditions
from proxyd.filters.fault_body import Slowed, Truncated, pause
from proxyd.wire import encode

_ERROR: Final = "proxy_internal_response"
"""RFC 9209 §2.3.30: the answer was made here."""
_NO_BODY: Final = frozenset({101, 204, 304})


class Injection:
    """One fault at work in this worker. Its draws and its count outlive chains and snapshots."""

    def __init__(self, fault: Fault, deadline: float, count: Callable[[int], None]) -> None:
        self.fault = fault
        self.deadline = deadline
        """Monotonic seconds at which it ends."""
        self.hits = 0
        self._count = count
        self._rng = random.Random(fault.seed)  # noqa: S311 - a share, not secrecy
        self._conditions: dict[bool, Conditions] = {}

    def is_due(self, exchange: Exchange, encoded_slash: bool) -> bool:
        """Whether this exchange, or this attempt at it, is to meet the fault: its conditions, then the draw."""
        conditions = self._conditions.get(encoded_slash)
        if conditions is None:
            conditions = self._conditions[encoded_slash] = Conditions(self.fault.scope, encoded_slash)
        request = exchange.request
        if current_time() >= self.deadline or not conditions.fits_request(request.method, request.path):
            return False
        if not conditions.fits_peer(exchange.peer, request.authority.host, request.authority.port):
            return False
        return self.fault.share >= 1.0 or self._rng.random() < self.fault.share

    def strike(self, exchange: Exchange) -> None:
        """Count, and have the exchange's flags say so."""
        self.hits += 1
        self._count(1)
        flag = Flag.DELAY_INJECTED if self.fault.kind in _DELAYS else Flag.FAULT_INJECTED
        if flag.value not in exchange.flags.split(","):
            exchange.flags = f"{exchange.flags},{flag.value}" if exchange.flags else flag.value

    @property
    def detail(self) -> str:
        """For the access log and Proxy-Status."""
        return f"injected fault {self.fault.id}: {self.fault.what}"


_DELAYS: Final = frozenset({FaultKind.DELAY, FaultKind.SLOW})


class FaultFilter(Filter):
    """Faults that clients see. A delay comes first; then the first fault that is due ends the exchange."""

    def __init__(self, injections: Sequence[Injection], encoded_slash: bool) -> None:
        mine = [one for one in injections if one.fault.place is FaultPlace.CLIENT]
        self._heads = _in_order(mine)
        self._bodies = [one for one in mine if one.fault.kind in BODIES]
        self._encoded_slash = encoded_slash

    async def request(self, exchange: Exchange) -> Response | None:
        """Wait, answer in the upstream's place, or end the connection by ProxyError."""
        for injection in [one for one in self._heads if one.is_due(exchange, self._encoded_slash)]:
            injection.strike(exchange)
            if injection.fault.kind is FaultKind.DELAY:
                await pause(exchange, injection.fault.seconds)
                continue
            if injection.fault.kind is FaultKind.RESET:
                raise _error(injection, 499, "connection_terminated")
            response = _answer(exchange, injection)
            exchange.error = _error(injection, response.status, _ERROR)
            return response
        return None

    def response(self, exchange: Exchange) -> None:
        """Have the upstream's body come slowly, or not to its end."""
        response = exchange.response
        if response is None or response.origin is Origin.PROXYD or response.status in _NO_BODY:
            return
        if exchange.request.method != b"HEAD":
            for injection in self._bodies:
                if injection.is_due(exchange, self._encoded_slash):
                    response.body = _impaired(exchange, response.body, injection)


class AttemptFaults:
    """Faults that attempts meet, as if the upstream had made them."""

    def __init__(self, injections: Sequence[Injection], encoded_slash: bool) -> None:
        self._injections = _in_order([one for one in injections if one.fault.place is FaultPlace.UPSTREAM])
        self._encoded_slash = encoded_slash

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._injections)

    async def __call__(self, exchange: Exchange) -> Response | None:
        """Wait, answer in the upstream's place, or raise what a real failure would."""
        for injection in [one for one in self._injections if one.is_due(exchange, self._encoded_slash)]:
            injection.strike(exchange)
            if injection.fault.kind is FaultKind.DELAY:
                await _delay(exchange, injection)
                continue
            if injection.fault.kind is FaultKind.RESET:
                raise ProxyError(
                    502, Flag.UPSTREAM_DISCONNECT, "connection_terminated", injection.detail, side=Side.UPSTREAM
                )
            exchange.first_byte_seconds = 0.0
            return _answer(exchange, injection)
        return None


def _in_order(injections: list[Injection]) -> list[Injection]:
    """Return those that need no body, delays first."""
    heads = [one for one in injections if one.fault.kind not in BODIES]
    return sorted(heads, key=lambda one: one.fault.kind is not FaultKind.DELAY)


async def _delay(exchange: Exchange, injection: Injection) -> None:
    """Wait as for a slow upstream: the attempt's own timeouts end it."""
    now = current_time()
    timeouts = exchange.route.timeouts
    first_byte = now + timeouts.first_byte if timeouts.first_byte else 0.0
    ends = min((end for end in (first_byte, exchange.try_deadline, exchange.deadline) if end), default=0.0)
    if not ends or now + injection.fault.seconds < ends:
        await pause(exchange, injection.fault.seconds)
        return
    await pause(exchange, max(0.0, ends - now))
    flag = Flag.DURATION_TIMEOUT if ends == exchange.deadline else Flag.UPSTREAM_TIMEOUT
    raise ProxyError(504, flag, "http_response_timeout", injection.detail, side=Side.UPSTREAM)


def _answer(exchange: Exchange, injection: Injection) -> Response:
    """Return the response in the vendor's place, marked in Proxy-Status alone."""
    answer = injection.fault.answer
    assert answer is not None, "control gives these kinds an answer"
    headers: Headers
    headers, body = answer.fill(time())
    if not body:
        headers.append((b"content-type", b"application/problem+json"))
        body = encode.problem(answer.status, injection.detail, _ERROR, exchange.id)
    headers.append((b"proxy-status", encode.proxy_status(exchange.snapshot.pseudonym, _ERROR, injection.detail)))
    return Response(answer.status, headers, BytesBody(body), origin=Origin.PROXYD)


def _impaired(exchange: Exchange, body: Body, injection: Injection) -> Body:
    amount = injection.fault.amount

    def strike() -> None:
        injection.strike(exchange)

    if injection.fault.kind is FaultKind.SLOW:
        return Slowed(exchange, body, amount, strike)
    if body.length is not None and body.length <= amount:
        return body
    return Truncated(body, amount, strike, _error(injection, 502, "http_response_incomplete"))


def _error(injection: Injection, status: int, error: str) -> ProxyError:
    return ProxyError(status, Flag.FAULT_INJECTED, error, injection.detail)
