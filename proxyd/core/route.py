"""A route: what the snapshot says of one service (or of all unknown hosts), compiled for the hot path."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange, Injector, Peer
from proxyd.core.limits import PoolLimits
from proxyd.core.message import Request, Response
from proxyd.core.service import Auth, Service, Timeouts, Version, is_standing


class Judge(Protocol):
    """The access rules that can concern one route."""

    judges_paths: bool
    judges_methods: bool
    ignores_callers: bool
    """Method and path alone decide."""
    always: bool
    """Allows every request of every caller."""

    def decide(self, peer: Peer, host: str, port: int, method: bytes, path: bytes) -> bool:
        """Whether this request is allowed."""
        ...

    def may(self, peer: Peer, host: str, port: int) -> bool:
        """Whether some request of this caller could be allowed (CONNECT to a service)."""
        ...

    def tunnel(self, peer: Peer, host: str, port: int) -> bool:
        """Whether an opaque tunnel is allowed: a rule that looks into requests cannot allow what it cannot see."""
        ...


class Choice:
    """A compiled credential, and where within its service it applies."""

    __slots__ = ("auth", "has_tokens", "injector", "is_everywhere", "strip", "strip_query", "strips")

    def __init__(self, injector: Injector, auth: Auth) -> None:
        self.injector = injector
        self.auth = auth
        self.is_everywhere = not auth.hosts and not auth.paths
        """Whether it applies to every request of the service."""
        self.has_tokens = any(map(is_standing, injector.secret_names))
        self.strip = frozenset(name.lower().encode("ascii") for name in auth.strip)
        self.strip_query = frozenset(name.encode("utf-8") for name in auth.strip_query)
        self.strips = bool(auth.strip or auth.strip_query)

    def covers(self, request: Request) -> bool:
        """Whether it applies to this one."""
        auth = self.auth
        authority = request.authority
        if auth.hosts and not any(one.matches(authority.host, authority.port, any_port=True) for one in auth.hosts):
            return False
        return not auth.paths or request.path.startswith(tuple(prefix.encode("utf-8") for prefix in auth.paths))


class Filter:
    """One concern of an exchange. Subclasses override only what they need; a hook left alone is never called.

    A hook that waits is an ``async def``; one that never does is a plain function, and costs no coroutine.
    """

    def request(self, exchange: Exchange) -> Awaitable[Response | None] | Response | None:
        """Look at or change the request; a response ends the chain. Raises ProxyError to refuse."""
        return None

    def response(self, exchange: Exchange) -> Awaitable[None] | None:
        """Look at or change the response; runs in reverse order where the request hook ran."""
        return None

    def failed(self, exchange: Exchange, error: ProxyError) -> Response | None:
        """The router has given up: a response stands in for the upstream's, None leaves it at that; never waits."""
        return None

    def done(self, exchange: Exchange) -> None:
        """Called always, once, last; never waits."""
        return


RequestHook = Callable[[Exchange], Awaitable[Response | None] | Response | None]
ResponseHook = Callable[[Exchange], Awaitable[None] | None]
FailedHook = Callable[[Exchange, ProxyError], Response | None]
DoneHook = Callable[[Exchange], None]


class Chain:
    """Filters compiled to hooks: ``steps`` pairs each request hook with the number of response hooks due after it."""

    __slots__ = ("done_hooks", "failed_hooks", "response_hooks", "steps")

    def __init__(self, filters: list[Filter]) -> None:
        self.steps: list[tuple[RequestHook, int]] = []
        self.response_hooks: list[ResponseHook] = []
        self.failed_hooks: list[FailedHook] = []
        self.done_hooks: list[DoneHook] = []
        for item in filters:
            kind = type(item)
            if kind.response is not Filter.response:
                self.response_hooks.append(item.response)
            if kind.request is not Filter.request:
                self.steps.append((item.request, len(self.response_hooks)))
            if kind.failed is not Filter.failed:
                self.failed_hooks.insert(0, item.failed)
            if kind.done is not Filter.done:
                self.done_hooks.append(item.done)

    async def run(self, exchange: Exchange, router: Callable[[Exchange], Awaitable[Response]]) -> Response:
        """Run the request hooks, the router, and the response hooks in reverse."""
        due = len(self.response_hooks)
        for hook, ran in self.steps:
            early = hook(exchange)
            if early is None:
                continue
            if not isinstance(early, Response):
                early = await early
            if early is not None:
                exchange.response = early
                due = ran
                break
        else:
            try:
                exchange.response = await router(exchange)
            except ProxyError as error:
                exchange.response = self._stand_in(exchange, error)
        for index in range(due - 1, -1, -1):
            waits = self.response_hooks[index](exchange)
            if waits is not None:
                await waits
        return exchange.response

    def _stand_in(self, exchange: Exchange, error: ProxyError) -> Response:
        for hook in self.failed_hooks:
            response = hook(exchange, error)
            if response is not None:
                exchange.error = error
                return response
        raise error


class Route:
    """One service or the unknown hosts, with everything that an exchange needs at hand."""

    __slots__ = (
        "alternate",
        "attempt_fault",
        "cells",
        "chain",
        "checks_paths",
        "choices",
        "cluster",
        "fallback",
        "gates",
        "judge",
        "name",
        "pool",
        "pools",
        "propagate",
        "protocol",
        "proxy_protocol",
        "service",
        "timeouts",
        "vendor",
    )

    def __init__(self, service: Service | None, timeouts: Timeouts, pool: PoolLimits, judge: Judge) -> None:
        self.service = service
        self.name = service.name if service is not None else ""
        self.timeouts = timeouts
        self.pool = pool
        self.judge = judge
        self.checks_paths = judge.judges_paths or (service is not None and bool(service.base.path))
        """Ambiguous paths are refused where a path rule or a base path applies."""
        self.choices: tuple[Choice, ...] = ()
        """The service's credentials, in order of preference."""
        self.propagate = timeouts.propagate.encode("ascii")
        """Field that carries an attempt's remaining time; empty: none."""
        self.protocol: str = (service.protocol if service is not None else Version.HTTP1).value
        """A value of Version; a string, since those are hashed and compared without a call."""
        self.proxy_protocol = service.proxy_protocol if service is not None else ""
        """Version of the PROXY protocol in which each connection tells of its client; empty: none does."""
        self.chain: Chain = Chain([])
        self.alternate: Chain = Chain([])
        """The chain of an exchange with this service in place of another one, where some service falls back on it."""
        self.fallback: Any = None
        """What answers when the router has given up (upstream.fallback); None: nothing does."""
        self.cluster: Any = None
        """The router's endpoints and policies of this service; None for unknown hosts."""
        self.gates: Any = None
        """The limits that every attempt takes from (limiting.gate.Gates); None: there are none."""
        self.vendor: Any = None
        """What reads of the vendor's limits in each answer (limiting.vendor.VendorGate); None: nothing does."""
        self.attempt_fault: Callable[[Exchange], Awaitable[Response | None]] | None = None
        """Injected faults that every attempt meets; a response stands for the upstream's. None: there are none."""
        self.pools: dict[Any, Any] = {}
        """The router's pools of this route, by authority and endpoint."""
        self.cells: dict[Any, Any] = {}
        """The observer's metric cells of this route."""

    def __repr__(self) -> str:
        return f"<Route {self.name or 'unknown hosts'}>"
