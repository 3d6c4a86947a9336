"""A client's idempotency key, honoured in the vendor's place: one request, one side effect, one answer for all who ask.

The key is claimed in the store before the request goes out, and what came of it is written down before the client has
all of the answer. The exchange goes on to its end though the client leaves: its answer is for whoever asks again.
"""

import hashlib
import os
from collections.abc import Awaitable
from typing import Final, Protocol

import trio

from proxyd.core.errors import Flag, ProxyError, Retry, Side, bad_request
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers, every, first, without
from proxyd.core.idempotency import CLAIM_BYTES, IdempotencyPolicy, KeyState, Outcome
from proxyd.core.message import BytesBody, Origin, Response
from proxyd.core.messages import KeySettled, SetKey
from proxyd.core.route import Filter
from proxyd.core.service import Service
from proxyd.filters.recording import Ending, Recording

METHODS: Final = frozenset({b"POST", b"PATCH"})
"""The others are idempotent by themselves (RFC 9110 §9.2.2)."""

MAX_KEY: Final = 255
"""Characters, as Stripe has it."""

NOT_APPLIED: Final = frozenset({401, 421, 425, 429})
"""Answers that say that the request was not applied: the key stays free (RFC 9110 §15.5.2, RFC 6585 §4)."""

_UNSENT: Final = frozenset(
    {Flag.UPSTREAM_CONNECT, Flag.NO_RESOLUTION, Flag.UPSTREAM_OVERFLOW, Flag.NO_HEALTHY, Flag.CONFIGURATION}
)
"""Failures before a byte of the request was sent."""

_FRAMING: Final = frozenset({b"content-length", b"cache-status"})
_ENDLESS: Final = (b"text/event-stream", b"application/grpc")


class KeyDesk(Protocol):
    """Whoever keeps the keys (worker.keys)."""

    async def claim(self, service: str, key: bytes, fingerprint: bytes, claim: bytes) -> SetKey:
        """Return what is known of a key."""
        ...

    async def settle(self, message: KeySettled) -> None:
        """Have an outcome written down."""
        ...

    def post(self, message: KeySettled) -> trio.Event:
        """Have an outcome written down, without waiting."""
        ...


class Held:
    """The key that an exchange holds."""

    __slots__ = ("claim", "fingerprint", "key")

    def __init__(self, key: bytes, fingerprint: bytes, claim: bytes) -> None:
        self.key = key
        self.fingerprint = fingerprint
        self.claim = claim


class IdempotencyFilter(Filter):
    """Stands behind the choice of the credential, which scopes the key."""

    def __init__(self, desk: KeyDesk, service: Service) -> None:
        assert service.idempotency is not None
        self._desk = desk
        self._name = service.name
        self._policy: IdempotencyPolicy = service.idempotency
        self._field = self._policy.field.encode("ascii")
        retry = service.resilience.retry
        self._repeats = bool(retry.key_header or retry.grpc_idempotent or service.fallback)
        """An attempt before the last may have been done."""

    # --- requests ---------------------------------------------------------------------------------

    def request(self, exchange: Exchange) -> Awaitable[Response | None] | None:
        """Answer from what is known of the key, or claim it. ProxyError 400, 409, 413, 422 and 503."""
        request = exchange.request
        if request.method not in METHODS:
            return None
        keys = every(request.headers, self._field)
        return self._begin(exchange, keys) if keys else None

    async def _begin(self, exchange: Exchange, keys: list[bytes]) -> Response | None:
        if len(keys) != 1 or not 0 < len(keys[0]) <= MAX_KEY:
            raise bad_request(f"{self._policy.field}: one key of 1 to {MAX_KEY} characters is expected")
        body = await self._gather(exchange)
        held = Held(self._scoped(exchange, keys[0]), _fingerprint(exchange, body), os.urandom(CLAIM_BYTES))
        told = await self._desk.claim(self._name, held.key, held.fingerprint, held.claim)
        exchange.ready = trio.current_time()
        if exchange.gone:
            self._desk.post(self._message(held, Outcome.FREE, 0, [], b""))
            raise _left()
        match told.state:
            case KeyState.YOURS:
                exchange.claim = held
                return None
            case KeyState.ANSWERED:
                headers = [*told.headers, (b"idempotency-replayed", b"true")]
                return Response(told.status, headers, BytesBody(told.body), origin=Origin.CACHE)
            case KeyState.LOST:
                self._desk.post(self._message(held, Outcome.FREE, 0, [], b""))
                if self._policy.is_open:
                    return None
                raise _refusal(503, "keys cannot be looked up now, the store is away: nothing was sent")
        raise self._conflict(told)

    def _conflict(self, told: SetKey) -> ProxyError:
        name = self._policy.field
        if told.state is KeyState.DIFFERS:
            return _refusal(422, f"this {name} was used for another request: use a new key for another request")
        if told.state is KeyState.RUNNING:
            detail = f"a request with this {name} is under way: ask again for its answer"
            return _refusal(409, detail, [(b"retry-after", b"1")])
        if told.state is KeyState.DONE:
            detail = f"the request with this {name} was answered {told.status}, too long or streamed"
            return _refusal(409, f"done, not replayable: {detail}")
        return _refusal(
            409,
            f"the outcome of the request with this {name} is unknown: it may have been done, and is not sent again. "
            "Look there before you send it with a new key",
        )

    async def _gather(self, exchange: Exchange) -> bytes:
        """Return the whole body, in memory from now on. ProxyError 413."""
        request = exchange.request
        body, most = request.body, self._policy.request_bytes
        if body.length is not None and body.length > most:
            raise self._too_long()
        if type(body) is BytesBody:
            return body.peek()
        if first(request.headers, b"expect") is not None:
            request.headers = without(request.headers, (b"expect",))
            if not body.replayable and exchange.interim is not None:
                await exchange.interim(100, [])
        pieces: list[bytes] = []
        size = 0
        while piece := await body.read():
            size += len(piece)
            if size > most:
                raise self._too_long()
            pieces.append(piece)
        data = b"".join(pieces)
        request.body = BytesBody(data, body.trailers)
        return data

    def _too_long(self) -> ProxyError:
        return bad_request(
            f"with {self._policy.field} a request body is held in memory and has {self._policy.request_bytes} bytes at "
            "most (idempotency.max_request); send a longer one without the key",
            413,
        )

    def _scoped(self, exchange: Exchange, key: bytes) -> bytes:
        peer, credential = exchange.peer, exchange.credential
        caller = f"user:{peer.user}" if peer.user is not None else peer.caller
        names = ",".join(credential.secret_names) if credential is not None else ""
        own = first(exchange.request.headers, b"authorization") or b"" if credential is None else b""
        return _digest(self._name.encode(), caller.encode(), names.encode(), own, key)

    # --- outcomes ---------------------------------------------------------------------------------

    def response(self, exchange: Exchange) -> Awaitable[None] | None:
        """Have the answer written down."""
        held = exchange.claim
        return None if held is None else self._answered(exchange, held)

    async def _answered(self, exchange: Exchange, held: Held) -> None:
        response = exchange.response
        assert response is not None
        if response.origin is not Origin.UPSTREAM and exchange.error is not None:
            await self._settle(exchange, held, self._after_failure(exchange))
            return
        was_applied = response.status not in NOT_APPLIED and response.origin is Origin.UPSTREAM
        if not was_applied and not (exchange.tries and self._repeats):
            await self._settle(exchange, held, Outcome.FREE)
            return
        body, most = response.body, self._policy.object_bytes
        if (body.length is not None and body.length > most) or response.status < 200 or _is_endless(response):
            await self._settle(exchange, held, Outcome.DONE, response.status)
        elif body.length is None:
            response.body = WrittenDown(body, most, self._ending(exchange, held, response))
        else:
            await self._keep(exchange, held, response)

    async def _keep(self, exchange: Exchange, held: Held, response: Response) -> None:
        """Wait for a body whose length is known, and write it down before the client gets it."""
        body = response.body
        ready = body.take_ready()
        if ready is None:
            pieces: list[bytes] = []
            try:
                while piece := await body.read():
                    pieces.append(piece)
            except ProxyError:
                await self._settle(exchange, held, Outcome.DONE, response.status)
                raise
            ready = b"".join(pieces)
        trailers = body.trailers
        response.body = BytesBody(ready, trailers)
        if trailers:
            await self._settle(exchange, held, Outcome.DONE, response.status)
        else:
            await self._settle(exchange, held, Outcome.ANSWERED, response.status, response.headers, ready)

    def _ending(self, exchange: Exchange, held: Held, response: Response) -> "Ending":
        """Return what is told of a body's end: its bytes, or None when it was not kept."""

        def over(data: bytes | None) -> trio.Event | None:
            if exchange.claim is not held:
                return None
            outcome = Outcome.DONE if data is None else Outcome.ANSWERED
            exchange.claim = None
            return self._desk.post(self._message(held, outcome, response.status, response.headers, data or b""))

        return over

    async def _settle(
        self,
        exchange: Exchange,
        held: Held,
        outcome: Outcome,
        status: int = 0,
        headers: Headers | None = None,
        body: bytes = b"",
    ) -> None:
        await self._desk.settle(self._message(held, outcome, status, headers or [], body))
        exchange.claim = None

    def _message(self, held: Held, outcome: Outcome, status: int, headers: Headers, body: bytes) -> KeySettled:
        kept = without(headers, _FRAMING) if outcome is Outcome.ANSWERED else []
        return KeySettled(0, self._name, held.key, held.fingerprint, held.claim, outcome, status, kept, body)

    def _after_failure(self, exchange: Exchange) -> Outcome:
        """Say what a failure leaves behind: the key is free only where the vendor cannot have got the request."""
        if not exchange.attempts:
            return Outcome.FREE
        error = exchange.error
        if error is None or (exchange.tries and self._repeats):
            return Outcome.UNKNOWN
        is_unsent = error.retry is Retry.ALWAYS or error.flag in _UNSENT
        return Outcome.FREE if is_unsent else Outcome.UNKNOWN

    def done(self, exchange: Exchange) -> None:
        """Settle what no answer has settled."""
        held, exchange.claim = exchange.claim, None
        if held is not None:
            self._desk.post(self._message(held, self._after_failure(exchange), 0, [], b""))


class WrittenDown(Recording):
    """A body of unknown length whose end waits until what passed is written down."""

    __slots__ = ()

    async def read(self) -> bytes:
        """Return the next piece."""
        piece = await self._body.read()
        if piece:
            self._note(piece)
            return piece
        written = self._finish()
        if written is not None:
            with trio.move_on_after(_PATIENCE):
                await written.wait()
        return b""

    def take_ready(self) -> bytes | None:
        """Never: its end has to wait."""
        return None


_PATIENCE: Final = 5.0
"""Seconds that a body's end waits for the store."""


def _is_endless(response: Response) -> bool:
    kind = first(response.headers, b"content-type")
    return kind is not None and kind.lower().startswith(_ENDLESS)


def _fingerprint(exchange: Exchange, body: bytes) -> bytes:
    request = exchange.request
    kind = first(request.headers, b"content-type") or b""
    return _digest(request.method, request.scheme, request.authority.text.encode(), request.path, kind, body)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def _left() -> ProxyError:
    detail = "the client left while its key was looked up"
    return ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", detail, side=Side.DOWNSTREAM)


def _refusal(status: int, detail: str, headers: Headers | None = None) -> ProxyError:
    side = Side.PROXYD if status >= 500 else Side.DOWNSTREAM
    kind = "proxy_internal_error" if status >= 500 else "http_request_denied"
    return ProxyError(status, Flag.IDEMPOTENCY, kind, detail, side=side, headers=headers)
