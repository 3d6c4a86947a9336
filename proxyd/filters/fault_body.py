"""Bodies that come slowly or break off, and waits that a client's leaving ends."""

from collections.abc import Callable
from typing import Final

import trio

from proxyd.core.errors import Flag, ProxyError, Side
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.message import Body

LOOK_SECONDS: Final = 0.25
"""Between looks at whether the client is still there."""
TICKS_PER_SECOND: Final = 10
"""Pieces that a slow body comes in, where its rate allows as many."""


async def pause(exchange: Exchange, seconds: float) -> None:
    """Wait. ProxyError 499 when the client leaves meanwhile."""
    ends = trio.current_time() + seconds
    with trio.CancelScope() as scope:
        exchange.scope = scope
        try:
            while not exchange.gone:
                left = ends - trio.current_time()
                if left <= 0:
                    break
                await trio.sleep(min(left, LOOK_SECONDS))
        finally:
            exchange.scope = None
    if exchange.gone:
        raise ProxyError(
            499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", "the client left", side=Side.DOWNSTREAM
        )


class _Impaired:
    """What both have in common: another body behind them, and nothing to hand out at once."""

    replayable = False

    def __init__(self, body: Body) -> None:
        self._body = body
        self.length = body.length
        self.trailers: Headers = body.trailers

    def take_ready(self) -> bytes | None:
        """Never: not all of it is to arrive at once."""
        return None

    def rewind(self) -> None:
        """Never: response bodies are read once."""
        raise AssertionError("a response body is read once")

    def abandon(self) -> None:
        """Pass it on."""
        self._body.abandon()


class Truncated(_Impaired):
    """A body that breaks off after ``limit`` bytes, by ``error``; one that ends before stays whole."""

    def __init__(self, body: Body, limit: int, strike: Callable[[], None], error: ProxyError) -> None:
        super().__init__(body)
        self._left = limit
        self._strike = strike
        self._error = error

    async def read(self) -> bytes:
        """Return the next piece; ProxyError where it breaks off."""
        if not self._left:
            self._strike()
            raise self._error
        piece = await self._body.read()
        if not piece:
            self.trailers = self._body.trailers
        return self._cut(piece)

    def take_pending(self) -> bytes:
        """Return what is at hand of the bytes that are let through."""
        return self._cut(self._body.take_pending()) if self._left else b""

    def _cut(self, piece: bytes) -> bytes:
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece


class Slowed(_Impaired):
    """A body that comes at ``rate`` bytes per second."""

    def __init__(self, exchange: Exchange, body: Body, rate: int, strike: Callable[[], None]) -> None:
        super().__init__(body)
        self._exchange = exchange
        self._step = max(1, rate // TICKS_PER_SECOND)
        self._seconds = self._step / rate
        self._strike = strike
        self._held = b""
        self._at = 0
        self._struck = False

    async def read(self) -> bytes:
        """Return the next few bytes, after the wait that they are due."""
        if self._at >= len(self._held):
            self._held, self._at = await self._body.read(), 0
            if not self._held:
                self.trailers = self._body.trailers
                return b""
        if not self._struck:
            self._struck = True
            self._strike()
        await pause(self._exchange, self._seconds)
        piece = self._held[self._at : self._at + self._step]
        self._at += len(piece)
        return piece

    def take_pending(self) -> bytes:
        """Nothing: the first bytes wait as well."""
        return b""
