"""The credential is chosen here; the router applies it inside each attempt, since signatures carry time and host.

What a scheme needs of the body is made ready here, too, once for all attempts.
"""

from collections.abc import Awaitable, Sequence
from typing import Final, cast

from proxyd.core.errors import ProxyError, bad_request, denied
from proxyd.core.exchange import BodyUse, Exchange, Signer
from proxyd.core.headers import without
from proxyd.core.message import BytesBody, Response
from proxyd.core.route import Choice, Filter

_PRIVATE: Final = frozenset({b"authorization", b"cookie"})


class CredentialFilter(Filter):
    """Chooses the service's credential, unless the client may keep its own and sent one."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._choices = choices
        self._sole = choices[0] if choices[0].is_everywhere else None

    def request(self, exchange: Exchange) -> Awaitable[Response | None] | Response | None:
        """ProxyError 400 when Connection names the credential's field, 403 for a URL that somebody else signed."""
        request = exchange.request
        choice = self._sole or next((one for one in self._choices if one.covers(request)), None)
        if choice is None:
            return None
        injector = choice.injector
        if request.nominated is not None and request.nominated & injector.fields:
            raise bad_request("Connection names the field that carries the credential")
        if request.method == b"TRACE":  # RFC 9110 §9.3.8: the answer would show it
            request.headers = without(request.headers, injector.fields | _PRIVATE)
            return None
        if choice.auth.keep and injector.client_supplied(request.headers, request.path):
            return None
        if not injector.signs:
            exchange.credential = injector
            return None
        signer = cast(Signer, injector)
        if signer.is_presigned(request):
            if choice.auth.presigned:
                return None
            raise denied("the URL carries a signature of its own, which proxyd passes on only with `presigned: true`")
        exchange.credential = signer
        use = signer.use_of_body(request)
        if use is BodyUse.WHOLE:
            return _hold(exchange, choice.auth.max_body)
        if use is BodyUse.CODED:
            request.body = signer.wrap(request)
        return None


async def _hold(exchange: Exchange, limit: int) -> None:
    """Read the whole request body into memory; a client that waits for 100 gets it by that."""
    body = exchange.request.body
    data = body.take_ready()
    if data is None:
        if body.length is not None and body.length > limit:
            raise _too_large(limit)
        pieces = bytearray()
        while piece := await body.read():
            pieces += piece
            if len(pieces) > limit:
                raise _too_large(limit)
        data = bytes(pieces)
    elif len(data) > limit:
        raise _too_large(limit)
    exchange.payload = data
    exchange.request.body = BytesBody(data)


def _too_large(limit: int) -> ProxyError:
    detail = f"the credential signs or changes the body, of which {limit} bytes are held at most (max_body)"
    return bad_request(detail, 413)
