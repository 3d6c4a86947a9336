"""Adaptive concurrency: requests beyond what a service answers without a queue are refused at once."""

from collections.abc import Callable

from trio import current_time

from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.route import Filter
from proxyd.filters.gradient import Gradient

_BAD = 500


class Admission:
    """Who is under way at one service; it outlives chains and snapshots, since exchanges end under later ones."""

    def __init__(self, gradient: Gradient, total: Callable[[], int], refused: Callable[[], None]) -> None:
        """``total`` says how many requests all workers together have under way; ``refused`` is told of refusals."""
        self.gradient = gradient
        self.total = total
        self.refused = refused
        self.admitted: dict[Exchange, tuple[float, bool]] = {}
        """When each exchange was, and whether it met few others."""


class ConcurrencyFilter(Filter):
    """Stands last in the chain: what is answered before the router takes no place."""

    def __init__(self, name: str, admission: Admission) -> None:
        self._name = name
        self._admission = admission

    def request(self, exchange: Exchange) -> None:
        """ProxyError 503 where there is no place."""
        admission = self._admission
        gradient = admission.gradient
        now = current_time()
        if not gradient.admit(now):
            admission.refused()
            why = "its unloaded latency is being measured" if gradient.is_measuring else "more would only queue"
            raise ProxyError(
                503,
                Flag.CONCURRENCY_LIMIT,
                "connection_limit_reached",
                f"{self._name} has {gradient.bound:.0f} requests under way, {why} (adaptive_concurrency)",
            )
        least = gradient.policy.min_limit
        is_calm = gradient.under_way <= least and admission.total() < least
        admission.admitted[exchange] = (now, is_calm)

    def response(self, exchange: Exchange) -> None:
        """Learn from a head that one attempt has brought."""
        response = exchange.response
        if exchange.alternate is not None:
            return  # another service has answered
        admitted = self._admission.admitted.get(exchange)
        if admitted is not None and response is not None and response.status < _BAD and exchange.attempts == 1:
            began, is_calm = admitted
            self._admission.gradient.observe(began, current_time(), is_calm=is_calm)

    def done(self, exchange: Exchange) -> None:
        """Give the place back. A timeout is a latency, too."""
        admitted = self._admission.admitted.pop(exchange, None)
        if admitted is None:
            return
        self._admission.gradient.release()
        error = exchange.error
        is_headless = exchange.attempts <= 1 and exchange.first_byte_seconds is None
        if error is not None and error.flag is Flag.UPSTREAM_TIMEOUT and is_headless:
            self._admission.gradient.observe(admitted[0], current_time())
