"""One upstream HTTP/1.1 connection: a round trip at a time, and the body that is pulled from it."""

from typing import Final

import trio
from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Retry, Side, bad_response
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.limits import Limits
from proxyd.core.message import Body, BytesBody, Response
from proxyd.net.stream import NEVER, SMALL_READ, Broken, Late, Stream, StreamError
from proxyd.upstream.deadline import FINE, arm, late_error
from proxyd.upstream.http1_body import ResponseBody, UpgradedBody
from proxyd.upstream.pool import Pool
from proxyd.wire import encode
from proxyd.wire.decode import ChunkedDecoder, CloseDecoder, Decoder, LengthDecoder
from proxyd.wire.fields import END, Framing
from proxyd.wire.response_head import ResponseHead, parse_response

_HAS_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})

_STALE: Final = 1.0
"""A connection that was idle for so long and dies without an answer was closed by the upstream's keep-alive timeout, of
which servers have one of some seconds. One that dies amid traffic says that the upstream is in trouble."""


class Connection:
    """A connection of one pool. The pool owns it; the router borrows it for one exchange."""

    __slots__ = ("born", "buffer", "held", "idle_since", "peer", "pool", "requests", "stream", "uploading")

    def __init__(self, stream: Stream, pool: Pool, peer: str) -> None:
        self.stream = stream
        self.pool = pool
        self.peer = peer
        """``ip:port`` that was dialled."""
        self.born = self.idle_since = current_time()
        self.requests = 0
        self.buffer = b""
        self.uploading = False
        self.held = False
        """Lent to an exchange."""

    def __repr__(self) -> str:
        return f"<Connection {self.peer} requests={self.requests} {self.stream!r}>"

    def is_alive(self) -> bool:
        """Whether the idle connection can take another request."""
        return self.stream.ended is None and not self.buffer and self.stream.is_alive()

    def close(self) -> None:
        """Close now."""
        self.stream.close()

    async def round_trip(
        self, exchange: Exchange, host: bytes, headers: Headers, path: bytes, via: bytes, limits: Limits
    ) -> Response:
        """Send the request and return the response once its head is there.

        The connection goes back to its pool when the response body ends, or is closed when it cannot. ProxyError
        says whether a retry is safe; the connection is discarded then.
        """
        stream = self.stream
        sent_before = stream.sent
        buffer = self.buffer
        since = now = exchange.ready if exchange.reused and exchange.attempts == 1 else current_time()
        try:
            message = self._begin(exchange, now, host, headers, path, via)
            rest = stream.send_nowait(message)
            if rest:
                await stream.send(rest)
            if self.uploading:
                exchange.nursery.start_soon(self._upload, exchange)
            interim = searched = 0
            while True:
                end = buffer.find(END, searched) if buffer else -1
                if end < 0:
                    if buffer:
                        if len(buffer) > limits.head_bytes:
                            raise _too_long(limits.head_bytes)
                        if since == now and exchange.route.timeouts.head and not self.uploading:
                            before = stream.deadline, stream.late
                            since = current_time()
                            arm(self.stream, exchange, since, exchange.route.timeouts.head, "head")
                    near = stream.deadline - since < FINE
                    data = await (self._receive() if near else stream.receive(SMALL_READ))
                    if not data:
                        raise Broken("closed within the response head" if buffer else "closed before the response")
                    searched = max(0, len(buffer) - 3)
                    buffer = buffer + data if buffer else data
                    continue
                raw = buffer[: end + 4]
                head = parse_response(
                    raw, exchange.request.method, limit=limits.head_bytes, max_fields=limits.head_fields
                )
                self.buffer = buffer = buffer[end + 4 :]
                searched = 0
                if head.status >= 200 or head.status == 101:
                    response = self._response(exchange, head, now)
                    response.raw_head = raw
                    return response
                interim += 1  # RFC 9110 §15.2
                if interim > limits.interim_responses:
                    raise bad_response(f"more than {limits.interim_responses} interim responses")
                if since != now:  # the wait for the response goes on as it was
                    since = now
                    stream.deadline, stream.late = before
                if exchange.interim is not None:
                    await exchange.interim(head.status, head.headers)
        except StreamError as error:
            self.drop()
            untouched = stream.sent == sent_before
            idle = NEVER if untouched else now - self.idle_since
            raise self._failed(exchange, error, untouched=untouched, idle=0.0 if buffer else idle) from error
        except BaseException:
            self.drop()
            raise

    def _begin(self, exchange: Exchange, now: float, host: bytes, headers: Headers, path: bytes, via: bytes) -> bytes:
        """Lend the connection, set its deadline, and return what to send: the head, with the body where it is ready."""
        request = exchange.request
        exchange.stream = self.stream
        self.held = True
        self.requests += 1
        ready = request.body.take_ready()
        if ready or ready is None or request.method in _HAS_BODY or request.upgrade is not None:
            via += _request_framing(exchange, ready)
        head = encode.request_head(request.method, path, host, headers, via)
        timeouts = exchange.route.timeouts
        if ready is None:
            self.uploading = True
            arm(self.stream, exchange, now, timeouts.idle, "idle")
            return head
        arm(self.stream, exchange, now, timeouts.first_byte, "first_byte")
        exchange.request_bytes = len(ready)
        return head + ready if ready else head

    def drop(self) -> None:
        """Close the connection and give its place back; once."""
        if self.held:
            self.held = False
            self.pool.discard(self)

    async def _receive(self) -> bytes:
        """Wait for bytes until the stream's deadline is exactly due, for deadlines nearer than the reaper's sweep."""
        stream = self.stream
        while current_time() < stream.deadline:  # an upload moves it on
            with trio.move_on_at(stream.deadline):
                return await stream.receive(SMALL_READ)
        stream.expire(stream.late)
        raise Late(stream.late)

    def _response(self, exchange: Exchange, head: ResponseHead, started: float) -> Response:
        now = current_time()
        exchange.first_byte_seconds = now - started
        exchange.try_deadline = 0.0
        if head.status == 101:
            return self._upgraded(exchange, head)
        data = self.buffer
        body: Body
        framing = head.framing
        length = head.length or 0
        if framing is Framing.NONE or (framing is Framing.LENGTH and len(data) >= length):
            body = BytesBody(data[:length])
            self.buffer = data[length:]
            self.finish(exchange, now, reusable=head.keep_alive)
        else:
            self.buffer = b""
            decoder: Decoder
            if framing is Framing.LENGTH:
                decoder = LengthDecoder(length)
            else:
                decoder = ChunkedDecoder() if framing is Framing.CHUNKED else CloseDecoder()
            if exchange.route.timeouts.stream:
                ends = now + exchange.route.timeouts.stream
                exchange.deadline = min(exchange.deadline, ends) if exchange.deadline else ends
            streaming = ResponseBody(self, exchange, decoder, head.length, head.keep_alive)
            streaming.start(data)
            body = streaming
        response = Response(head.status, head.headers, body, head.reason, head.version)
        response.announces = head.announces
        return response

    def _upgraded(self, exchange: Exchange, head: ResponseHead) -> Response:
        """RFC 9110 §7.8: only what was asked for, and only on an echo of it."""
        if exchange.request.upgrade is None or head.upgrade != exchange.request.upgrade:
            raise bad_response("101 to another protocol than the one asked for", "http_upgrade_failed")
        exchange.stream = None
        self.stream.deadline = NEVER
        return Response(101, head.headers, UpgradedBody(self), head.reason)

    def finish(self, exchange: Exchange, now: float, *, reusable: bool) -> None:
        """End the exchange on this connection: back to the pool when it is clean, else closed."""
        exchange.stream = None
        self.held = False
        self.stream.deadline = NEVER
        if reusable and not self.uploading and not self.buffer:
            self.pool.release(self, now)
        else:
            self.pool.discard(self)

    async def _upload(self, exchange: Exchange) -> None:
        """Send a streaming body piece by piece; the response may come, and end, before the body does."""
        body = exchange.request.body
        stream = self.stream
        chunked = body.length is None
        idle = exchange.route.timeouts.idle
        try:
            while piece := await body.read():
                exchange.request_bytes += len(piece)
                arm(self.stream, exchange, current_time(), idle, "idle")
                await stream.send(encode.chunk(piece) if chunked else piece)
            if chunked:
                await stream.send(encode.last_chunk(body.trailers))
            self.uploading = False
            if exchange.first_byte_seconds is None:  # or the response is on its way, and `idle` bounds it
                arm(self.stream, exchange, current_time(), exchange.route.timeouts.first_byte, "first_byte")
        except ProxyError as error:  # the client's side failed: nothing can complete this request
            if exchange.error is None:
                exchange.error = error
            stream.expire("upload")
        except StreamError:
            return  # the upstream takes no more; its response, or its absence, tells the rest

    def _failed(self, exchange: Exchange, error: StreamError, *, untouched: bool, idle: float) -> ProxyError:
        """``idle``: for how long the connection had carried nothing before; 0 where an answer had begun."""
        if isinstance(error, Late):
            return late_error(exchange, error.reason)
        otherwise = Retry.IF_REUSED if self.requests > 1 else Retry.NEVER
        return ProxyError(
            502,
            Flag.UPSTREAM_DISCONNECT,
            "connection_terminated",
            f"the upstream connection failed: {error}",
            side=Side.UPSTREAM,
            retry=Retry.ALWAYS if untouched else otherwise,
            stale=self.requests > 1 and idle >= _STALE,
        )


def _too_long(limit: int) -> ProxyError:
    return bad_response(f"the response head is longer than {limit} bytes", "http_response_header_section_size")


def _request_framing(exchange: Exchange, ready: bytes | None) -> bytes:
    request = exchange.request
    if request.upgrade is not None:
        return b"connection: upgrade\r\nupgrade: " + request.upgrade + b"\r\n"
    if ready is not None and request.body.trailers:
        raise AssertionError("a body with trailers is streamed")
    length = len(ready) if ready is not None else request.body.length
    if length is None:
        return b"transfer-encoding: chunked\r\n"
    if length or request.method in _HAS_BODY:
        return b"content-length: %d\r\n" % length
    return b""
