"""Cross-origin requests of web pages that a gateway's ``origins`` allow (Fetch Standard, CORS protocol)."""

from typing import Final

from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers, every, first
from proxyd.core.message import BytesBody, Origin, Response
from proxyd.core.route import Filter

MAX_AGE: Final = b"600"
"""Seconds that a browser may remember the answer to a preflight."""

_METHOD: Final = b"access-control-request-method"
_HEADERS: Final = b"access-control-request-headers"
_PRIVATE: Final = b"access-control-request-private-network"


class CorsFilter(Filter):
    """Answers preflights, and lets the allowed page read what comes. Other exchanges pass untouched."""

    def request(self, exchange: Exchange) -> Response | None:
        """Answer a preflight here: it carries no token, and the service knows nothing of this origin."""
        facade, request = exchange.facade, exchange.request
        if facade is None or not facade.origin or request.method != b"OPTIONS":
            return None
        method = first(request.headers, _METHOD)
        if method is None:
            return None
        headers: Headers = [
            *_allowed(facade.origin),
            (b"access-control-allow-methods", method),
            (b"access-control-max-age", MAX_AGE),
        ]
        wanted = every(request.headers, _HEADERS)
        if wanted:
            headers.append((b"access-control-allow-headers", b", ".join(wanted)))
        if first(request.headers, _PRIVATE) == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
        return Response(204, headers, BytesBody(), origin=Origin.PROXYD)

    def response(self, exchange: Exchange) -> None:
        """Replace what the service says about origins of its own."""
        facade, response = exchange.facade, exchange.response
        if facade is None or not facade.origin or response is None or response.origin is Origin.PROXYD:
            return
        own = [field for field in response.headers if not field[0].startswith(b"access-control-")]
        response.headers = [*own, *_allowed(facade.origin), (b"access-control-expose-headers", b"*")]


def _allowed(origin: bytes) -> Headers:
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
