"""One stream of a downstream HTTP/2 connection: its exchange, from the head to the last frame of the answer."""

from typing import TYPE_CHECKING, Final

import trio

from proxyd.core.errors import Flag, ProxyError, Side
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers, is_grpc
from proxyd.core.view import View
from proxyd.downstream import reply
from proxyd.downstream.http2_body import Http2Body, body_of
from proxyd.downstream.http2_reply import send_head, write
from proxyd.net.lane import Lane
from proxyd.net.stream import StreamError
from proxyd.wire.http2 import Code
from proxyd.wire.http2_fields import response_fields
from proxyd.wire.request_head import RequestHead

if TYPE_CHECKING:
    from proxyd.downstream.http2 import Http2Connection


_VIA: Final = len("via: ")


class Call:
    """A request and its answer on one lane."""

    __slots__ = ("_connection", "_head", "_view", "exchange", "lane")

    def __init__(
        self, connection: "Http2Connection", lane: Lane, view: View, exchange: Exchange, head: RequestHead | None
    ) -> None:
        """A call without a ``head`` is refused: its exchange has the answer already."""
        self._connection = connection
        self._view = view
        self._head = head
        self.lane = lane
        self.exchange = exchange
        exchange.interim = self._interim

    def __repr__(self) -> str:
        return f"<Call {self.lane!r} {self.exchange!r}>"

    async def run(self) -> None:
        """Serve the exchange; nothing of it is left then."""
        lane, head = self.lane, self._head
        try:
            if head is None:
                await self._write()
            elif lane.ended is not None:
                pass  # the client has thought better of it
            elif head.length == 0:
                await self._serve()
            else:
                await self._serve_with_body(head)
        finally:
            self._over()

    def reset(self, code: int) -> None:
        """The client ended the stream."""
        self.lane.fail("reset", code)
        self.exchange.abandon()

    def cut(self, reason: str, code: int = Code.CANCEL) -> None:
        """End it from our side."""
        self.exchange.cut()
        self.lane.expire(reason, code)

    async def _serve_with_body(self, head: RequestHead) -> None:
        try:
            body = body_of(
                self.lane,
                head.length,
                self._view.limits,
                invited=head.expects_continue,
                is_talk=is_grpc(head.headers),
            )
        except ProxyError as error:
            self._malformed(error)
            return
        self.exchange.request.body = body
        await (self._stream(body) if isinstance(body, Http2Body) else self._serve())

    async def _stream(self, body: Http2Body) -> None:
        """Serve an exchange whose body is still on its way: it is sent on while the response may come already."""
        plane = self._connection.plane
        body.read_size = plane.buffers.streaming_started()
        try:
            async with trio.open_nursery() as nursery:
                self.exchange.nursery = nursery
                await self._serve(body)
                nursery.cancel_scope.cancel()
        finally:
            plane.buffers.streaming_ended()

    async def _serve(self, body: Http2Body | None = None) -> None:
        """Run the chain and send the response, unless ``body`` has made the request malformed meanwhile."""
        exchange = self.exchange
        try:
            exchange.response = await exchange.route.chain.run(exchange, self._view.router)
        except ProxyError as error:
            exchange.error = error
            if exchange.gone or error.status == 499:
                self.lane.expire("cut", Code.INTERNAL_ERROR)
                return
            exchange.response = reply.error_response(exchange, error)
        if body is not None and body.fault is not None:
            self._malformed(body.fault)
            return
        await self._write()

    def _malformed(self, error: ProxyError) -> None:
        """End the stream of a request that is none (RFC 9113 §8.1.1); the log has the status that HTTP/1.1 answers."""
        exchange = self.exchange
        if exchange.response is not None:
            exchange.response.body.abandon()
        exchange.error = error
        exchange.response = reply.error_response(exchange, error)
        self._cut(error, Code.PROTOCOL_ERROR)

    async def _write(self) -> None:
        response = self.exchange.response
        assert response is not None
        via = self._view.via if response.version < 20 else self._view.via_http2
        try:
            await write(self._connection.codec, self.lane, self.exchange, response, via[_VIA:-2])
            self._connection.said()
        except ProxyError as error:  # within the body
            self._cut(error, Code.INTERNAL_ERROR)
        except StreamError:
            return  # the lane says why, in the end

    def _cut(self, error: ProxyError, code: int) -> None:
        """End the stream in a way that cannot be taken for the body's end."""
        self.exchange.error = self.exchange.error or error
        self.lane.expire("cut", code)

    async def _interim(self, status: int, headers: Headers) -> None:
        """Pass a 1xx response on."""
        try:
            send_head(self._connection.codec, self.lane, response_fields(status, headers), ended=False)
        except StreamError as error:
            raise _left(str(error)) from error

    def _over(self) -> None:
        exchange, lane = self.exchange, self.lane
        exchange.interim = None  # it leads back here
        if lane.ended is None and lane.finished:
            lane.retire()
        elif lane.ended is None:  # RFC 9113 §8.1: the answer is whole, the rest of the request is in vain
            surplus = self._head is not None and self._head.length == 0 and lane.held > 0
            lane.expire("done", Code.PROTOCOL_ERROR if surplus else Code.NO_ERROR)
        elif lane.ended != "done" and (exchange.error is None or lane.code is not None):
            exchange.error = _left(_why(lane) + (" (within the response)" if exchange.response_started else ""))
        if exchange.response is not None:
            exchange.response.body.abandon()
        connection = self._connection
        if self._head is None:
            connection.plane.finished(exchange)
        else:
            exchange.ended = connection.plane.now()
            if exchange.held is not None:
                exchange.held.leave(exchange)
            for hook in exchange.route.chain.done_hooks:
                hook(exchange)
        connection.over(self)


def _why(lane: Lane) -> str:
    if lane.code is not None:
        return f"the client reset the stream ({_name(lane.code)})"
    if lane.ended == "gone":
        return "the client's connection ended"
    return f"the exchange was cut: {lane.ended}"


def _name(code: int) -> str:
    try:
        return Code(code).name
    except ValueError:
        return str(code)


def _left(detail: str) -> ProxyError:
    return ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", detail, side=Side.DOWNSTREAM)
