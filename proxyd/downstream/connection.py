"""One downstream connection: heads in, exchanges run, responses out, in order, until one side ends it.

One task serves a connection. A nursery is opened only for a request body that is still on its way when its exchange
begins; everything else runs in this task, with deadlines as numbers on the stream (net.stream).
"""

import socket
import struct
from collections.abc import Collection
from typing import Final

import trio
from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Side, bad_request, too_long
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.message import Response
from proxyd.core.view import View
from proxyd.downstream import reply, tunnel
from proxyd.downstream.body import RequestBody
from proxyd.downstream.entry import Entry, Served
from proxyd.downstream.http2 import Http2Connection
from proxyd.downstream.plane import Detachable
from proxyd.net.relay import Tally, relay
from proxyd.net.stream import NEVER, NO_GOODBYE, SMALL_READ, Late, Stream, StreamError
from proxyd.wire import encode
from proxyd.wire.decode import ChunkedDecoder, LengthDecoder
from proxyd.wire.fields import END, Framing
from proxyd.wire.http2 import PREFACE
from proxyd.wire.request_head import MAX_EMPTY_LINES, RequestHead, incomplete, parse_request, skip_empty_lines

_PREFACE: Final = PREFACE[: PREFACE.index(END) + len(END)]
"""What the beginning of HTTP/2 is to HTTP/1.1: a head of a version that is not spoken here."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Connection:
    """A client's connection, plain or within an intercepted tunnel."""

    __slots__ = ("buffer", "ended", "entry", "exchange", "held_up", "opened", "peer", "plane", "stream", "successor")

    def __init__(self, stream: Stream, entry: Entry) -> None:
        self.stream = stream
        self.entry = entry
        self.peer = entry.peer
        self.plane = entry.plane
        self.buffer = b""
        self.ended = current_time()
        """When the connection, or its last exchange, was over with: idle time counts from there."""
        self.exchange: Exchange | None = None
        """The exchange or tunnel that runs now."""
        self.opened: Exchange | None = None
        """The intercepted tunnel that no request has come through yet."""
        self.held_up = False
        """The head came in pieces: its time is the client's, not the upstream's."""
        self.successor: Served | None = None
        """What goes on with the stream, once it is to speak another protocol."""

    def __repr__(self) -> str:
        return f"<Connection {self.entry!r} {self.exchange!r}>"

    @property
    def exchanges(self) -> Collection[Exchange]:
        """The exchange or tunnel that runs now, if any."""
        return () if self.exchange is None else (self.exchange,)

    async def serve(self) -> Served | None:
        """Serve until the end; the stream is closed then, unless a successor takes it over."""
        self.stream.stall = self.plane.view.limits.idle_timeout
        try:
            while await self._next() and not self.plane.closing:
                pass
        except StreamError:
            pass  # the client left between requests, or the reaper ended an idle connection
        finally:
            if self.successor is None:
                self.stream.close()
                if self.opened is not None and not self.plane.draining:
                    self.entry.unused(self.opened)
        return self.successor

    def drain(self, *, gentle: bool) -> None:
        """Close an idle connection; one that is busy, or is left to its next request, ends with that."""
        if not gentle and self.exchange is None:
            self.stream.expire("drain")

    def cut(self, exchange: Exchange) -> None:
        """End an exchange that is not allowed any more, and the connection with it."""
        exchange.cut()
        self.stream.expire("revoked")

    def handover(self, stream: Stream) -> None:
        """Go on with another stream over the same socket (TLS)."""
        self.stream.unwatch()
        self.stream.ended = "handed over"
        stream.stall = self.stream.stall
        self.stream = stream
        self.ended = current_time()
        self.plane.reaper.add(stream)

    async def _next(self) -> bool:
        """Serve one request; False when the connection is to end."""
        view = self.plane.view
        started, raw = await self._read_head(view)
        if not raw:
            return False
        self.opened = None
        view = self.plane.view  # a reload may have come during the wait
        limits = view.limits
        try:
            head = parse_request(
                raw, limit=limits.head_bytes, uri_limit=limits.uri_bytes, max_fields=limits.head_fields
            )
            if not self.peer.looked_up:
                self.plane.identify(self.peer, self.stream)
            if head.method == b"CONNECT":
                self.entry.check_connect()
                return await tunnel.connect(self, view, head, started)
            exchange = self.entry.exchange(view, head, started)
            if head.framing is not Framing.NONE:
                length = head.length
                decoder = ChunkedDecoder() if length is None else LengthDecoder(length)
                exchange.request.body = RequestBody(self, decoder, length, limits, invited=head.expects_continue)
            if head.version == 11:
                exchange.interim = self._interim
        except ProxyError as error:
            if raw == _PREFACE and self.entry.knows_http2:
                self.successor = Http2Connection(self.stream, self.entry, raw + self.buffer)
                return False
            await self.refuse(view, error, started, raw)
            return False
        if self.held_up:
            exchange.ready, self.held_up = current_time(), False
        self.exchange = exchange
        body = exchange.request.body
        if isinstance(body, RequestBody) and not body.replayable:
            return await self._serve_streaming(exchange, view, head, body)
        return await self._serve(exchange, view, head)

    # --- heads ------------------------------------------------------------------------------------

    async def _read_head(self, view: View) -> tuple[float, bytes]:
        """Return the time of the head's first byte and the head, or no bytes at the client's end."""
        limits = view.limits
        stream = self.stream
        data = self.buffer
        if not data:
            stream.deadline = self.ended + limits.idle_timeout
            stream.late = "idle"
            data = await stream.receive(SMALL_READ)
            if not data:
                return 0.0, b""
        stream.deadline = NEVER
        started = self.plane.now()
        end = data.find(END)
        if end < 0 or data[:1] == b"\r":
            self.held_up = True
            try:
                data = await self._rest_of_head(view, data)
            except ProxyError as error:
                await self.refuse(view, error, started, data)
                return 0.0, b""
            end = data.find(END)
            if end < 0:
                return 0.0, b""
        end += 4
        self.buffer = data[end:] if len(data) > end else b""
        return started, data[:end] if len(data) > end else data

    async def _rest_of_head(self, view: View, data: bytes) -> bytes:
        """Read on until a whole head is there; ProxyError 408 when that takes too long."""
        limits = view.limits
        most = MAX_EMPTY_LINES
        judged = 0
        with trio.move_on_after(limits.head_timeout):
            while True:
                if data[:1] == b"\r":
                    rest = skip_empty_lines(data, most)
                    most -= (len(data) - len(rest)) // 2
                    data, judged = rest, 0
                if data.find(END, max(0, judged - 3)) >= 0:
                    return data
                if data:
                    incomplete(data, limits.head_bytes, limits.uri_bytes, judged)
                    judged = len(data)
                more = await self.stream.receive(SMALL_READ)
                if not more:
                    return b""
                data += more
        raise ProxyError(
            408,
            Flag.DOWNSTREAM_TIMEOUT,
            "http_request_error",
            f"the head took longer than {limits.head_timeout:g} s",
            side=Side.DOWNSTREAM,
        )

    # --- exchanges --------------------------------------------------------------------------------

    async def _serve_streaming(self, exchange: Exchange, view: View, head: RequestHead, body: RequestBody) -> bool:
        """Serve an exchange whose body is still on its way: it is sent on while the response may come already."""
        body.read_size = self.plane.buffers.streaming_started()
        try:
            async with trio.open_nursery() as nursery:
                exchange.nursery = nursery
                keep = await self._serve(exchange, view, head)
                nursery.cancel_scope.cancel()
        finally:
            self.plane.buffers.streaming_ended()
        if body.ended:
            return keep
        if not head.expects_continue:
            await self._linger(view)
        return False

    async def _serve(self, exchange: Exchange, view: View, head: RequestHead) -> bool:
        """Run the chain and send the response; False when the connection cannot go on."""
        stream = self.stream
        stream.busy_since = exchange.started
        stream.hangup = exchange.abandon
        keep = head.keep_alive and not self.plane.draining
        try:
            try:
                response = await exchange.route.chain.run(exchange, view.router)
            except ProxyError as error:
                exchange.error = error
                if exchange.gone or error.status == 499:
                    if error.flag is Flag.FAULT_INJECTED:
                        self._cut()
                    return False
                response = reply.error_response(exchange, error)
            exchange.response = response
            body = exchange.request.body
            if response.status == 101:
                await self._upgrade(exchange, response, view)
                return False
            if isinstance(body, RequestBody) and not body.ended and response.status >= 300:
                keep = False
            keep = keep and not self.plane.draining  # a drain may have begun meanwhile
            via = view.via if response.version < 20 else view.via_http2
            return await reply.write(stream, exchange, response, via, keep=keep)
        except ProxyError as error:
            exchange.error = exchange.error or error
            self._cut()
            return False
        except StreamError as error:
            exchange.error = exchange.error or _client_gone(error, exchange)
            return False
        finally:
            stream.busy_since = NEVER
            stream.hangup = None
            if exchange.response is not None:
                exchange.response.body.abandon()
            self.exchange = None
            exchange.ended = self.ended = self.plane.now()
            if exchange.held is not None:
                exchange.held.leave(exchange)
            for hook in exchange.route.chain.done_hooks:
                hook(exchange)

    async def _interim(self, status: int, headers: Headers) -> None:
        """Pass a 1xx response on."""
        try:
            await self.stream.send(encode.response_head(status, b"", headers, b""))
        except StreamError as error:
            raise ProxyError(
                499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", str(error), side=Side.DOWNSTREAM
            ) from error

    async def _upgrade(self, exchange: Exchange, response: Response, view: View) -> None:
        """Pass the 101 on, then carry bytes both ways until both sides are done."""
        body = response.body
        assert isinstance(body, Detachable)
        stream = self.stream
        stream.busy_since = NEVER
        extra = view.via + b"connection: upgrade\r\nupgrade: " + (exchange.request.upgrade or b"") + b"\r\n"
        exchange.response_started = True
        tally = Tally()
        tally.down, tally.up = len(body.surplus), len(self.buffer)
        await stream.send(encode.response_head(101, response.reason, response.headers, extra) + body.surplus)
        if self.buffer:
            await body.stream.send(self.buffer)
            self.buffer = b""
        longest = (exchange.alternate or exchange).route.timeouts.stream
        with trio.move_on_after(longest or NEVER) as scope:  # one for a connection's whole life
            why = await relay(stream, body.stream, view.limits.tunnel_idle, self.plane.pipes, tally)
            if why != NO_GOODBYE:  # usual, and harmless: WebSocket says by a frame of its own that all has come
                exchange.error = tunnel.cut_short("the upgraded connection", why)
        if scope.cancelled_caught:
            exchange.error = too_long()
        exchange.request_bytes, exchange.response_bytes = tally.up, tally.down

    # --- refusals and ends ------------------------------------------------------------------------

    async def refuse(self, view: View, error: ProxyError, started: float, raw: bytes = b"") -> None:
        """Answer a request that became no exchange, report it, and end the connection without losing the answer."""
        method = raw[:32].split(b" ", 1)[0] if raw[:1].isalpha() else b"-"
        exchange = self.entry.refusal(view, error, started, method)
        assert exchange.response is not None
        try:
            if error.status != 499:
                await reply.write(self.stream, exchange, exchange.response, b"", keep=False)
                await self._linger(view)
        except StreamError:
            pass  # the client left before it heard why
        finally:
            self.plane.finished(exchange)

    async def _linger(self, view: View) -> None:
        """Read and drop what the client still sends, so that a reset does not destroy the response (RFC 9112 §9.6)."""
        limits = view.limits
        left = limits.linger_bytes
        self.stream.deadline = NEVER
        with trio.move_on_after(limits.linger_seconds):
            try:
                self.stream.shut_write()
                while left > 0:
                    data = await self.stream.receive(SMALL_READ)
                    if not data:
                        return
                    left -= len(data)
            except StreamError:
                return

    def _cut(self) -> None:
        """End in a way that cannot be taken for the body's end: by reset."""
        try:
            self.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            return  # closed already
        self.stream.close()


def _client_gone(error: StreamError, exchange: Exchange) -> ProxyError:
    if isinstance(error, Late) and error.reason not in ("idle", "gone", "closed"):
        return bad_request(f"the exchange was cut: {error.reason}", 499)
    detail = f"the client's connection failed: {error}"
    if exchange.response_started:
        detail += " (within the response)"
    return ProxyError(499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", detail, side=Side.DOWNSTREAM)
