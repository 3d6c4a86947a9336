"""Exchanges that no client waits for: a stale answer that was given is asked for anew (stale-while-revalidate)."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import trio

from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.message import BytesBody, Request, Response
from proxyd.filters.cache import REFRESH

MAX_RUNNING: Final = 64
"""More at a time are not begun: the next request for the same thing asks again."""


Router = Callable[[Exchange], Awaitable[Response]]


class Background:
    """Repeats exchanges in a worker's nursery."""

    def __init__(self, nursery: trio.Nursery, next_id: Callable[[], str], router: Callable[[], Router]) -> None:
        self._nursery = nursery
        self._next_id = next_id
        self._router = router
        self._running = 0

    def refresh(self, exchange: Exchange, asked: Headers) -> None:
        """Ask the upstream as ``exchange`` would have, with the fields that its client sent."""
        if self._running >= MAX_RUNNING:
            return
        self._running += 1
        former = exchange.request
        request = Request(b"GET", former.scheme, former.authority, former.path, list(asked), BytesBody())
        peer = replace(exchange.peer, port=0)  # no connection of the client's is behind it
        twin = Exchange(peer, exchange.snapshot, request, trio.current_time(), exchange.mode)
        twin.id = self._next_id()
        twin.route, twin.service, twin.facade = exchange.route, exchange.service, exchange.facade
        twin.lookup = REFRESH
        self._nursery.start_soon(self._run, twin)

    async def _run(self, exchange: Exchange) -> None:
        chain = exchange.route.chain
        try:
            response = exchange.response = await chain.run(exchange, self._router())
            while piece := await response.body.read():
                exchange.response_bytes += len(piece)
        except ProxyError as error:
            exchange.error = error
        finally:
            self._running -= 1
            if exchange.response is not None:
                exchange.response.body.abandon()
            exchange.ended = trio.current_time()
            if exchange.held is not None:
                exchange.held.leave(exchange)
            for hook in chain.done_hooks:
                hook(exchange)
