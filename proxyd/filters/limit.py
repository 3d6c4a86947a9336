"""The limits that name the caller, before the cache; and how many may be under way, which end with the exchange."""

from collections.abc import Awaitable

from trio import current_time

from proxyd.core.exchange import Exchange
from proxyd.core.message import Response
from proxyd.core.route import Filter
from proxyd.limiting.gate import Gates


class LimitFilter(Filter):
    """Takes from its limits once per exchange."""

    def __init__(self, gates: Gates) -> None:
        self._take = gates.taker

    def request(self, exchange: Exchange) -> Awaitable[Response | None] | Response | None:
        """ProxyError 429 where a limit is reached; waits where the limit says so."""
        waits = self._take(exchange, current_time())
        return self._wait(waits) if waits is not None else None

    @staticmethod
    async def _wait(waits: Awaitable[None]) -> Response | None:
        await waits
        return None

    def done(self, exchange: Exchange) -> None:
        """Give the places back that were held."""
        permits, exchange.permits = exchange.permits, ()
        for gate, key in permits:
            gate.release(key)
