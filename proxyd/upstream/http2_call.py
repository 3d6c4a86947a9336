"""One exchange on an upstream HTTP/2 connection."""

import functools
from collections import deque
from typing import TYPE_CHECKING, Final

import trio
from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Retry, Side, bad_response
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.limits import Limits
from proxyd.core.message import Body, BytesBody, Response
from proxyd.net.lane import CANCEL, Lane
from proxyd.net.stream import Late, StreamError
from proxyd.upstream.deadline import FINE, arm, has_own_deadline, impatient, late_error
from proxyd.upstream.http2_body import ResponseBody
from proxyd.wire.fields import Framing
from proxyd.wire.http2 import Code, Head
from proxyd.wire.http2_fields import request_fields, trailer_fields
from proxyd.wire.http2_head import MalformedError, response_head, trailers
from proxyd.wire.response_head import ResponseHead

if TYPE_CHECKING:
    from proxyd.upstream.http2 import Connection

RESET: Final = "reset"
"""The peer ended the stream."""
REFUSED: Final = "refused"
"""The peer went before it came to the stream."""
BROKEN: Final = "broken"
"""The connection ended."""

_NEAR: Final = 0.02
"""Seconds by which an upstream may be ahead of us when a deadline passes."""

_VIA: Final = len("via: ")
_HAS_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})


class Call(Lane):
    """A request and its response, on a stream."""

    __slots__ = (
        "_connection",
        "_heads",
        "_is_answered",
        "_is_held",
        "_reading",
        "_reads",
        "_sent_before",
        "exchange",
        "uploading",
    )

    def __init__(self, connection: "Connection", exchange: Exchange) -> None:
        super().__init__(connection.multiplex, 0)
        self._connection = connection
        self.exchange = exchange
        self._heads: deque[Head] = deque()
        self._is_answered = False
        self._is_held = True
        """It takes room on the connection."""
        self.uploading = False
        self._reading: trio.CancelScope | None = None
        """Around a streaming upload."""
        self._reads = connection.reads
        self._sent_before = connection.stream.sent

    # --- from the connection's reader -------------------------------------------------------------

    def arrive_head(self, head: Head) -> None:
        """A head came, an interim one maybe."""
        if len(self._heads) > self.exchange.snapshot.limits.interim_responses:
            return  # more than will be taken
        self._heads.append(head)
        if head.ended:
            self.finished = True
        self.wake_reader()

    def arrive_reset(self, code: int) -> None:
        """The peer ended the stream; where its response is complete, it only wants no more of the request."""
        if self.finished:
            self.wake_writer()
        else:
            self.fail(RESET, code)

    # --- request ----------------------------------------------------------------------------------

    def begin(self, now: float, host: bytes, headers: Headers, path: bytes, via: bytes) -> None:
        """Queue the request's head, and its body where it is ready and there is room. ProxyError, StreamError."""
        connection, exchange = self._connection, self.exchange
        if connection.over is not None:
            raise Late(REFUSED)
        request = exchange.request
        codec, multiplex = connection.codec, connection.multiplex
        ready = request.body.take_ready()
        length = request.body.length if ready is None else len(ready)
        if ready == b"" and request.method not in _HAS_BODY:
            length = None
        fields = request_fields(
            request.method,
            request.scheme,
            host,
            path,
            headers,
            length=length,
            via=via[_VIA:-2],
            secrets=exchange.secrets,
        )
        self.id = codec.open()
        codec.head(self.id, fields, ended=ready == b"")
        multiplex.add(self)
        connection.watch(self)
        exchange.stream = self
        connection.requests += 1
        timeouts = exchange.route.timeouts
        queued = 0
        if ready is None:
            self.uploading = True
            exchange.nursery.start_soon(self._upload, request.body)
        elif ready:
            queued = exchange.request_bytes = len(ready)
            if multiplex.is_full or codec.room(self.id) < queued:
                queued = 0
                self.uploading = True
                connection.spawn(functools.partial(self._send_ready, ready))
            else:
                codec.data(self.id, ready, ended=True)
        if self.uploading:
            arm(self, exchange, now, timeouts.idle, "idle")
        else:
            arm(self, exchange, now, timeouts.first_byte, "first_byte")
        multiplex.touch(queued)

    async def _send_ready(self, data: bytes) -> None:
        """Send a body that is in memory and that there is no room for yet."""
        try:
            await self.send(data, ended=True)
        except StreamError:
            return  # the response, or its absence, tells the rest
        self._sent()

    async def _upload(self, body: Body) -> None:
        """Send a streaming body piece by piece; the response may come, and end, before the body does."""
        exchange = self.exchange
        if self.ended is not None:
            return  # over before it began: the body is another attempt's now
        try:
            with trio.CancelScope() as self._reading:
                await self._send_body(body)
                self._sent()
        except ProxyError as error:  # the client's side failed: nothing can complete this request
            if exchange.error is None:
                exchange.error = error
            self.expire("upload")
        except (StreamError, KeyError):
            return  # the upstream takes no more; its response, or its absence, tells the rest

    async def _send_body(self, body: Body) -> None:
        exchange = self.exchange
        idle = exchange.route.timeouts.idle
        while piece := await body.read():
            exchange.request_bytes += len(piece)
            arm(self, exchange, current_time(), idle, "idle")
            await self.send(piece)
        if body.trailers:
            self._connection.codec.trailers(self.id, trailer_fields(body.trailers))
            self.touch()
        else:
            await self.send(b"", ended=True)

    def _sent(self) -> None:
        self.uploading = False
        if self.ended is None and not self._is_answered:  # else the response is on its way, and `idle` bounds it
            exchange = self.exchange
            arm(self, exchange, current_time(), exchange.route.timeouts.first_byte, "first_byte")

    # --- response ---------------------------------------------------------------------------------

    async def response(self, now: float, limits: Limits) -> Response:
        """Return the response once its head is there; interim ones are passed on."""
        exchange = self.exchange
        interim = 0
        while True:
            while not self._heads:
                if self.deadline - now < FINE:
                    await self._wait_exactly()
                else:
                    await self.wait()
            came = self._heads.popleft()
            head = response_head(
                came.fields,
                exchange.request.method,
                ended=came.ended,
                limit=limits.head_bytes,
                max_fields=limits.head_fields,
            )
            if head.status >= 200:
                return self._response(head, now)
            interim += 1  # RFC 9110 §15.2
            if interim > limits.interim_responses:
                raise bad_response(f"more than {limits.interim_responses} interim responses")
            if exchange.interim is not None:
                await exchange.interim(head.status, head.headers)

    async def _wait_exactly(self) -> None:
        """Wait until the deadline is exactly due, for deadlines nearer than the reaper's sweep."""
        while current_time() < self.deadline:  # an upload moves it on
            with trio.move_on_at(self.deadline):
                return await self.wait()
        self.expire(self.late)
        raise Late(self.late)

    def _response(self, head: ResponseHead, started: float) -> Response:
        exchange = self.exchange
        self._is_answered = True
        now = current_time()
        exchange.first_byte_seconds = now - started
        exchange.try_deadline = 0.0
        body: Body
        length = 0 if head.framing is Framing.NONE else head.length
        if self.finished and not self.trailers:
            data = self.take_all()
            if length is not None and len(data) != length:
                raise MalformedError(f"a body of {len(data)} bytes where the head says {length}")
            body = BytesBody(data)
            self.complete(now)
        else:
            if exchange.route.timeouts.stream:
                ends = now + exchange.route.timeouts.stream
                exchange.deadline = min(exchange.deadline, ends) if exchange.deadline else ends
            body = ResponseBody(self, length)
        response = Response(head.status, head.headers, body, head.reason, head.version)
        response.announces = head.announces
        return response

    def take_all(self) -> bytes:
        """Return what has come of the body and was not taken."""
        data = self.take()
        while self.held:
            data += self.take()
        return data

    def read_trailers(self) -> Headers:
        """Return the trailer fields that came. MalformedError."""
        if not self.trailers:
            return []
        limits = self.exchange.snapshot.limits
        return trailers(self.trailers, limit=limits.head_bytes, max_fields=limits.head_fields)

    # --- ends -------------------------------------------------------------------------------------

    def complete(self, now: float) -> None:
        """The response has come to its end; what is left of the request is not wanted any more."""
        if self.uploading and self.ended is None:
            self.expire("finished")
        self.exchange.stream = None
        self.retire()
        self._give_back(now)

    def drop(self, code: int = CANCEL) -> None:
        """End the stream before its time, and give its room back; once."""
        if self.id:
            self.expire("dropped", code)
        if self._reading is not None:
            self._reading.cancel()  # another attempt may want the body
        self.exchange.stream = None
        self._give_back(current_time())

    def _give_back(self, now: float) -> None:
        if self._is_held:
            self._is_held = False
            self._connection.give_back(now)

    def failed(self, error: StreamError) -> ProxyError:
        """Return what the failure means for the exchange before its response head, and whether a retry is safe."""
        reason = str(error)
        if reason == REFUSED:
            detail = self._coded("the upstream went away before it came to the request")
            if self.code in (None, Code.NO_ERROR):  # as it should; it says nothing about the next connection
                return _failure(Flag.UPSTREAM_DISCONNECT, detail, Retry.ALWAYS, stale=True)
            return _failure(Flag.UPSTREAM_RESET, detail, Retry.ALWAYS)
        if reason == RESET and has_own_deadline(self.exchange) and current_time() > self.exchange.deadline - _NEAR:
            return impatient()  # the upstream knows of the deadline, and was quicker to act on it
        if reason == RESET:
            is_refused = self.code == Code.REFUSED_STREAM  # RFC 9113 §8.7
            detail = self._coded("the upstream refused the request" if is_refused else "the upstream reset the stream")
            return _failure(Flag.UPSTREAM_RESET, detail, Retry.ALWAYS if is_refused else Retry.NEVER)
        connection = self._connection
        if reason == BROKEN:
            if connection.violation:
                return bad_response(f"the upstream broke HTTP/2: {connection.violation}")
            otherwise = Retry.IF_REUSED if connection.requests > 1 else Retry.NEVER
            is_untouched = connection.stream.sent == self._sent_before
            return _failure(
                Flag.UPSTREAM_DISCONNECT,
                "the upstream connection failed",
                Retry.ALWAYS if is_untouched else otherwise,
            )
        if connection.reads == self._reads:  # nothing at all came since: later requests should not meet the same
            connection.leave(current_time())
        return late_error(self.exchange, reason)

    def broken(self, error: StreamError) -> ProxyError:
        """Return what the failure means within the response body."""
        reason = str(error)
        if reason in (REFUSED, RESET, BROKEN):
            words = "the stream was reset" if reason == RESET else "the connection ended"
            detail = f"the response body broke off: {self._coded(words)}"
            return ProxyError(502, Flag.UPSTREAM_DISCONNECT, "http_response_incomplete", detail, side=Side.UPSTREAM)
        return late_error(self.exchange, reason)

    def _coded(self, words: str) -> str:
        if self.code is None:
            return words
        try:
            return f"{words} ({Code(self.code).name})"
        except ValueError:
            return f"{words} (code {self.code:#x})"


def _failure(flag: Flag, detail: str, retry: Retry, *, stale: bool = False) -> ProxyError:
    return ProxyError(502, flag, "connection_terminated", detail, side=Side.UPSTREAM, retry=retry, stale=stale)
