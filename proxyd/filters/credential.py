"""The credential is chosen here; the router applies it inside each attempt, since signatures carry time and host.

Once for all attempts what would contradict it is removed, what a scheme needs of the body is made ready, and a token's
first value is waited for.
"""

from collections.abc import Awaitable, Sequence
from typing import Final, Protocol, cast

from proxyd.core.errors import ProxyError, bad_request, denied, misconfigured
from proxyd.core.exchange import BodyUse, Exchange, Injector, Signer
from proxyd.core.headers import without
from proxyd.core.message import BytesBody, Request, Response
from proxyd.core.query import without_parameters
from proxyd.core.route import Choice, Filter
from proxyd.core.units import KIB

SHORT: Final = 64 * KIB
"""Bytes of a body that is held where a token may be refused and the request made again with another one."""

_PRIVATE: Final = frozenset({b"authorization", b"cookie"})


class Tokens(Protocol):
    """What knows of tokens that control works on (upstream.renewal)."""

    def lacks(self, injector: Injector) -> bool:
        """Whether one that the injector needs has not come yet."""
        ...

    async def first(self, exchange: Exchange, injector: Injector) -> None:
        """Wait for it, a while."""
        ...


class CredentialFilter(Filter):
    """Chooses the service's credential, unless the client may keep its own and sent one."""

    def __init__(self, choices: Sequence[Choice], tokens: Tokens) -> None:
        self._choices = choices
        self._tokens = tokens
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
        if injector.signs and not cast(Signer, injector).is_due(request):
            return None
        if injector.signs and cast(Signer, injector).is_presigned(request):
            if choice.auth.presigned:
                return None
            raise denied("the URL carries a signature of its own, which proxyd passes on only with `presigned: true`")
        if choice.strips:
            _strip(request, choice)
        exchange.credential = injector
        if not injector.signs and not choice.has_tokens:
            return None
        waits = choice.has_tokens and self._tokens.lacks(injector)
        if not injector.signs and not waits and not _is_short(request):
            return None
        return self._prepare(exchange, choice, waits=waits)

    async def _prepare(self, exchange: Exchange, choice: Choice, *, waits: bool) -> None:
        injector = choice.injector
        if waits:
            await self._tokens.first(exchange, injector)
        if not injector.signs:
            if _is_short(exchange.request):
                await _hold(exchange, SHORT)
            return
        signer = cast(Signer, injector)
        request = exchange.request
        try:
            use = signer.use_of_body(request)
        except ValueError as error:
            raise misconfigured(str(error)) from None
        if use is BodyUse.WHOLE:
            await _hold(exchange, choice.auth.max_body)
        elif use is BodyUse.CODED:
            request.body = signer.wrap(request)


def _is_short(request: Request) -> bool:
    """Whether the body is on its way and short: it is waited for, so that the request can be made again."""
    body = request.body
    return not body.replayable and body.length is not None and body.length <= SHORT


def _strip(request: Request, choice: Choice) -> None:
    """Remove what a client's tools left that would contradict the credential."""
    if choice.strip:
        request.headers = without(request.headers, choice.strip)
    if choice.strip_query:
        request.path = without_parameters(request.path, choice.strip_query)


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
