"""Two attempts at one exchange, of which the first good answer counts."""

import copy
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.message import BytesBody, Response
from proxyd.upstream import http1_body, http2_body
from proxyd.upstream.endpoints import EndpointState

HEDGED: Final = "hedged"
"""Outcome of an attempt that another one overtook."""

_BAD: Final = 500
_TAKEN_OVER: Final = (
    "connect_seconds",
    "connect_steps",
    "deadline",
    "endpoint",
    "first_byte_seconds",
    "flags",
    "queue_seconds",
    "request_bytes",
    "reused",
    "secrets",
    "stream",
)

Attempt = Callable[[Exchange, EndpointState, float], Awaitable[Response]]


class Runner:
    """One attempt in a race."""

    __slots__ = ("_response", "began", "error", "exchange", "state")

    def __init__(self, exchange: Exchange, state: EndpointState, began: float) -> None:
        self.exchange = exchange
        self.state = state
        self.began = began
        self._response: Response | None = None
        self.error: ProxyError | None = None

    @property
    def response(self) -> Response:
        """The answer of a winner."""
        assert self._response is not None, "a winner has an answer"
        return self._response

    @property
    def is_over(self) -> bool:
        """Whether it came to an end of its own."""
        return self._response is not None or self.error is not None

    @property
    def is_good(self) -> bool:
        """Whether it has an answer worth ending the race for."""
        return self._response is not None and self._response.status < _BAD

    def finish(self, response: Response | None, error: ProxyError | None) -> None:
        """Take the end in."""
        self._response, self.error = response, error

    def give_up(self) -> None:
        """Drop an answer that came too late."""
        if self._response is not None:
            self._response.body.abandon()

    def adopt(self, exchange: Exchange) -> None:
        """Have ``exchange`` go on with what this attempt has."""
        if self.exchange is exchange:
            return
        for name in _TAKEN_OVER:
            setattr(exchange, name, getattr(self.exchange, name))
        exchange.try_deadline = 0.0
        body = self.response.body
        if isinstance(body, http1_body.ResponseBody | http2_body.ResponseBody):
            body.adopt(exchange)


class Race:
    """The attempts at one exchange. ``decided`` is set when nothing better can be expected."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.runners: list[Runner] = []
        self.decided = trio.Event()

    async def run(self, attempt: Attempt, exchange: Exchange, state: EndpointState, now: float) -> None:
        """Make one attempt."""
        runner = Runner(exchange, state, now)
        self.runners.append(runner)
        try:
            runner.finish(await attempt(exchange, state, now), None)
        except ProxyError as error:
            runner.finish(None, error)
        if runner.is_good or self._exchange.gone or all(one.is_over for one in self.runners):
            self.decided.set()

    def twin(self) -> Exchange:
        """Return an exchange of its own for a second attempt: same request, no traces of the first attempt."""
        exchange = self._exchange
        body = exchange.request.body
        body.rewind()
        data = body.take_ready()
        body.rewind()
        twin = copy.copy(exchange)
        twin.request = copy.copy(exchange.request)
        twin.request.body = BytesBody(data or b"")
        twin.stream = twin.scope = None
        twin.tries = []
        twin.endpoint = None
        twin.interim = None
        exchange.attempts += 1
        return twin

    def winner(self) -> Runner | None:
        """Return the attempt whose answer counts, None where none has one."""
        answered = [one for one in self.runners if one.is_over and one.error is None]
        return next((one for one in answered if one.is_good), answered[0] if answered else None)

    def others(self, than: Runner) -> Iterator[Runner]:
        """Yield the other attempts; an answer that came too late is dropped."""
        for one in self.runners:
            if one is not than:
                one.give_up()
                yield one
