"""Loops: a request that carries this instance's pseudonym in Via has been here already (RFC 9110 §7.6.3)."""

from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.headers import tokens
from proxyd.core.message import Response
from proxyd.core.route import Filter


class LoopFilter(Filter):
    """Answers 508 to its own requests."""

    def __init__(self, pseudonym: str) -> None:
        self._pseudonym = pseudonym.lower().encode("ascii")

    def request(self, exchange: Exchange) -> Response | None:
        """ProxyError 508 where Via names this instance."""
        via = exchange.request.via
        if via is not None:
            for member in tokens(via):
                parts = member.split()
                if len(parts) > 1 and parts[1] == self._pseudonym:
                    raise ProxyError(508, Flag.LOOP, "proxy_loop_detected", "this request passed through here before")
        return None
