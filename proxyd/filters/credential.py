"""The credential is chosen here; the router applies it inside each attempt, since signatures carry time and host."""

from typing import Final

from proxyd.core.errors import bad_request
from proxyd.core.exchange import Exchange
from proxyd.core.headers import without
from proxyd.core.message import Response
from proxyd.core.route import Filter

_PRIVATE: Final = frozenset({b"authorization", b"cookie"})


class CredentialFilter(Filter):
    """Chooses the service's credential, unless the client may keep its own and sent one."""

    def request(self, exchange: Exchange) -> Response | None:
        """ProxyError 400 when Connection names the credential's field."""
        route = exchange.route
        injector = route.injector
        if injector is None:
            return None
        request = exchange.request
        if request.nominated is not None and request.nominated & injector.fields:
            raise bad_request("Connection names the field that carries the credential")
        if request.method == b"TRACE":  # RFC 9110 §9.3.8: the answer would show it
            request.headers = without(request.headers, injector.fields | _PRIVATE)
            return None
        if not (route.keep_own and injector.client_supplied(request.headers, request.path)):
            exchange.credential = injector
        return None
