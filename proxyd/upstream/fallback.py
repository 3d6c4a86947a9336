"""What happens when a service's attempts are exhausted: another service answers, the cache, or a static response.

The steps are tried in the order of the configuration, each for the failures that it is for. Another service is asked by
an exchange of its own, with its own access rules, credential, timeouts, endpoints and policies; its fallback is not
asked, so that there is no loop. It is asked only where that can double no side effect, by the rules of retries but for
one: an idempotency key is the first vendor's, and proves nothing to the second.

What proves the client to the one service is never shown to the other, and no cookie of the other is set. When no step
has an answer, the client gets the failure of the service that it asked.
"""

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from trio import current_time

from proxyd.core.authority import Authority, normalise_host
from proxyd.core.errors import Flag, ProxyError, Retry, bad_response
from proxyd.core.exchange import Exchange, Try
from proxyd.core.facade import Facade
from proxyd.core.fallback import OPEN, FallbackStep, StaticResponse
from proxyd.core.headers import Headers, first, without
from proxyd.core.message import BytesBody, Origin, Request, Response
from proxyd.core.query import without_parameters
from proxyd.core.resilience import CONNECT, RESET, TIMEOUT
from proxyd.core.route import Chain, Filter, Route
from proxyd.core.service import Service
from proxyd.upstream.retry import IDEMPOTENT, KEYED
from proxyd.wire.encode import proxy_status, proxy_status_of_attempt

PRIVATE: Final = frozenset(
    {
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        b"x-api-key",
        b"api-key",
        b"x-auth-token",
        b"x-access-token",
        b"x-amz-security-token",
        b"x-csrf-token",
        b"private-token",
    }
)
"""Request fields that prove a client to one service: they never go to another, beside what either's `auth` owns."""

CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since", b"if-range", b"range"})
"""What a client knows of the one service's representation says nothing of the other's, which answers in full."""
_PRECONDITIONS: Final = frozenset({b"if-match", b"if-unmodified-since"})
"""These guard against lost updates, and cannot be left out: such a request stays with its service."""

OF_ITS_OWN: Final = frozenset(
    {b"set-cookie", b"alt-svc", b"strict-transport-security", b"clear-site-data", b"etag", b"last-modified"}
)
"""Response fields that speak for a whole host, which the client did not ask, or that it would show to the wrong one."""

_CONDITION: Final = {
    Flag.UPSTREAM_CONNECT: CONNECT,
    Flag.NO_RESOLUTION: CONNECT,
    Flag.UPSTREAM_DISCONNECT: RESET,
    Flag.UPSTREAM_RESET: RESET,
    Flag.UPSTREAM_PROTOCOL: RESET,
    Flag.UPSTREAM_TIMEOUT: TIMEOUT,
    Flag.DURATION_TIMEOUT: TIMEOUT,
    Flag.UPSTREAM_OVERFLOW: OPEN,
    Flag.NO_HEALTHY: OPEN,
}
_UNSENT: Final = frozenset({Flag.UPSTREAM_CONNECT, Flag.NO_RESOLUTION, Flag.UPSTREAM_OVERFLOW, Flag.NO_HEALTHY})
"""Failures before a byte of the request was sent."""

StandIn = Callable[[Exchange, ProxyError], Response | None]
"""What the chain's filters have for a service that gives no answer."""
Send = Callable[[Exchange], Awaitable[Response]]


@dataclass(slots=True)
class Step:
    """A step at work."""

    policy: FallbackStep
    route: Route | None
    """Of the service that is asked; None where none is."""
    count: Callable[[int], None]
    """Told of each answer."""


class FallbackChain(Chain):
    """The chain of a route with a fallback: the router is asked through it."""

    __slots__ = ()

    def __init__(self, filters: list[Filter]) -> None:
        super().__init__(filters)
        self.done_hooks.append(_end_alternate)

    async def run(self, exchange: Exchange, router: Send) -> Response:
        """As Chain.run."""
        fallback: Fallback = exchange.route.fallback

        async def routed(exchange: Exchange) -> Response:
            return await fallback.route(exchange, router, self._stale)

        return await super().run(exchange, routed)

    def _stale(self, exchange: Exchange, error: ProxyError) -> Response | None:
        answers = (hook(exchange, error) for hook in self.failed_hooks)
        return next((answer for answer in answers if answer is not None), None)


class Fallback:
    """The steps of one service."""

    def __init__(self, steps: Sequence[Step], *, is_keyed: bool) -> None:
        self._steps = steps
        self._is_keyed = is_keyed
        """POST and PATCH were repeated on the strength of an idempotency key."""
        self._conditions = frozenset(condition for step in steps for condition in step.policy.on)

    def __repr__(self) -> str:
        return f"<Fallback steps={len(self._steps)}>"

    async def route(self, exchange: Exchange, router: Send, stale: StandIn) -> Response:
        """Return the router's response, or that of the first step which has one. ProxyError: the router's."""
        try:
            response = await router(exchange)
        except ProxyError as error:
            condition = _CONDITION.get(error.flag, "")
            if condition not in self._conditions or exchange.gone:
                raise
            answer = await self._answer(exchange, router, condition, error, stale)
            if answer is None:
                raise
            return answer
        condition = str(response.status)
        if condition not in self._conditions:
            return response
        answer = None
        try:
            answer = await self._answer(exchange, router, condition, None, stale)
        except BaseException:
            response.body.abandon()
            raise
        if answer is None:
            return response
        response.body.abandon()
        return answer

    async def _answer(
        self, exchange: Exchange, router: Send, condition: str, failure: ProxyError | None, stale: StandIn
    ) -> Response | None:
        """Return what the first step answers that has an answer. ``condition`` is what happened."""
        outcome = failure.error if failure is not None else condition
        last = Try(exchange.endpoint or "-", outcome, None)
        told = _told(exchange, last, failure)
        for step in self._steps:
            policy = step.policy
            if condition not in policy.on:
                continue
            answer: Response | None = None
            if policy.response is not None:
                answer = _static(exchange, policy.response)
            elif policy.stale:
                answer = stale(exchange, failure or bad_response(f"it answered {condition}"))
            elif step.route is not None and self._may_repeat(exchange, failure):
                answer = await _ask(exchange, step, step.route, router, last)
            if answer is None:
                continue
            if step.route is None:
                exchange.error = failure
            by = f'"{policy.service}"' if policy.service else "stale" if policy.stale else "response"
            answer.headers = [*answer.headers, (b"proxy-status", told + f"; fallback={by}".encode("ascii"))]
            step.count(1)
            flags = [failure.flag.value] if failure is not None and step.route is not None else []
            exchange.flags = ",".join(filter(None, [exchange.flags, *flags, Flag.FALLBACK.value]))
            return answer
        return None

    def _may_repeat(self, exchange: Exchange, failure: ProxyError | None) -> bool:
        """Whether asking another service can double no side effect, and the body can be sent again."""
        request = exchange.request
        if not request.body.replayable:
            return False
        if request.method in IDEMPOTENT:
            return True
        if failure is None or not (failure.retry is Retry.ALWAYS or failure.flag in _UNSENT):
            return False
        may_be_done = exchange.tries and self._is_keyed and request.method in KEYED  # by an attempt before the last
        return not may_be_done


def _end_alternate(exchange: Exchange) -> None:
    """Run what is due at the end of an exchange with another service."""
    twin = exchange.alternate
    if twin is not None:
        for hook in twin.route.alternate.done_hooks:
            hook(twin)


async def _ask(exchange: Exchange, step: Step, route: Route, router: Send, before: Try) -> Response | None:
    """Ask another service; None where it cannot be asked, may not be, or fails as well."""
    twin = _twin(exchange, route)
    if twin is None:
        return None
    if exchange.held is not None:
        exchange.held.leave(exchange)
    former, exchange.stream = exchange.stream, None
    exchange.alternate = twin
    answered = False
    try:
        response = await route.alternate.run(twin, router)
        answered = str(response.status) not in step.policy.on
        if answered:
            _adopt(exchange, twin, before)
            response.headers = without(response.headers, OF_ITS_OWN)
            return response
        response.body.abandon()
        outcome = str(response.status)
    except ProxyError as error:
        if exchange.gone:
            raise
        outcome = error.error
    finally:
        if not answered:
            if twin.held is not None:
                twin.held.leave(twin)
            twin.ended = current_time()
            _end_alternate(exchange)
            exchange.alternate = None
            exchange.stream = former
    if twin.attempts:
        exchange.tries += [*twin.tries, Try(twin.endpoint or "-", outcome, None)]
        exchange.attempts += twin.attempts
    return None


def _twin(exchange: Exchange, route: Route) -> Exchange | None:
    """Return an exchange of the same request with another service; None where the path cannot be carried over."""
    service = route.service
    assert service is not None, "steps name services"
    path = _carried(exchange, service)
    # A cache has put the validators of its entry in the place of what the client sent.
    headers: Headers = getattr(exchange.lookup, "asked", exchange.request.headers)
    if path is None or any(name in _PRECONDITIONS for name, _ in headers):
        return None
    request = copy.copy(exchange.request)
    request.body.rewind()
    injectors = [choice.injector for choice in exchange.route.choices]
    request.headers = without(headers, PRIVATE | CONDITIONS | frozenset().union(*(one.fields for one in injectors)))
    parameters = [name for one in injectors for name in one.query_names]
    request.path = without_parameters(path, parameters) if parameters else path
    request.scheme = service.base.scheme.encode("ascii")
    request.authority = Authority(service.base.host, service.base.port, _is_ip(service.base.host))
    twin = Exchange(exchange.peer, exchange.snapshot, request, current_time(), exchange.mode)
    twin.id = exchange.id
    twin.route = route
    twin.service = service
    twin.facade = _facade(exchange, service, request)
    return twin


def _carried(exchange: Exchange, service: Service) -> bytes | None:
    """Return the path under the other base URL that stands where the request's does under its own."""
    asked = exchange.service
    path = exchange.request.path
    base = asked.base.path.encode("ascii") if asked is not None else b""
    rest = path.removeprefix(base)
    if not path.startswith(base) or rest[:1] not in (b"/", b"?", b""):
        return None  # ``*``, and what is not under the base URL
    return service.base.path.encode("ascii") + rest or b"/"


def _facade(exchange: Exchange, service: Service, request: Request) -> Facade:
    """Return how the client knows the other service's resources: as those of the service that it asked."""
    own, asked = exchange.facade, exchange.request
    is_gateway = own is not None and own.is_gateway
    base = exchange.service.base.path.encode("ascii") if exchange.service is not None else b""
    return Facade(
        scheme=own.scheme if own is not None else asked.scheme,
        authority=own.authority if own is not None else asked.authority.host_header(asked.scheme),
        prefix=own.prefix if own is not None and is_gateway else base,
        base_scheme=request.scheme,
        base_authority=request.authority,
        base_path=service.base.path.encode("ascii"),
        encoded_slash=service.encoded_slash,
        is_gateway=is_gateway,
        origin=own.origin if own is not None else b"",
    )


def _adopt(exchange: Exchange, twin: Exchange, before: Try) -> None:
    """Have ``exchange`` go on with what the other service has answered."""
    exchange.tries += [before, *twin.tries] if exchange.attempts else twin.tries
    exchange.attempts += twin.attempts
    for name in _TAKEN_OVER:
        setattr(exchange, name, getattr(twin, name))
    twin.held = None
    exchange.secrets = ()
    exchange.facade = None  # the response speaks the client's words already


_TAKEN_OVER: Final = (
    "connect_seconds",
    "connect_steps",
    "credential",
    "endpoint",
    "first_byte_seconds",
    "flags",
    "held",
    "queue_seconds",
    "request_bytes",
    "retrying",
    "reused",
)


def _told(exchange: Exchange, last: Try, failure: ProxyError | None) -> bytes:
    """Return the members of Proxy-Status for the service's attempts, of which ``last`` was the last."""
    pseudonym = exchange.snapshot.pseudonym
    members = [proxy_status_of_attempt(pseudonym, one.endpoint, one.outcome) for one in exchange.tries]
    if failure is not None:
        members.append(proxy_status(pseudonym, failure.error, failure.detail))
    else:
        members.append(proxy_status_of_attempt(pseudonym, last.endpoint, last.outcome))
    return b", ".join(members)


def _static(exchange: Exchange, written: StaticResponse) -> Response:
    headers: Headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in written.headers]
    headers.append((b"x-request-id", exchange.id.encode("ascii")))
    if first(headers, b"cache-control") is None:
        headers.append((b"cache-control", b"no-store"))
    return Response(written.status, headers, BytesBody(written.body), origin=Origin.PROXYD)


def _is_ip(host: str) -> bool:
    return normalise_host(host)[1]
