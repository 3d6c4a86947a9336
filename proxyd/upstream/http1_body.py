"""Response bodies of HTTP/1.1, which give their connection back at the end."""

from typing import TYPE_CHECKING

from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Side, bad_response
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.message import BytesBody
from proxyd.net.stream import LARGE_READ, Broken, Late, Stream, StreamError
from proxyd.upstream.deadline import arm, late_error
from proxyd.wire.decode import Decoder

if TYPE_CHECKING:
    from proxyd.upstream.http1 import Connection


class ResponseBody:
    """A response body on its way; it gives its connection back at the end."""

    __slots__ = ("_connection", "_decoder", "_exchange", "_keep_alive", "_open", "_piece", "length", "trailers")

    replayable = False

    def __init__(
        self, connection: "Connection", exchange: Exchange, decoder: Decoder, length: int | None, keep_alive: bool
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._decoder = decoder
        self._keep_alive = keep_alive
        self._piece = b""
        self._open = True
        self.length = length
        self.trailers: Headers = decoder.trailers

    def adopt(self, exchange: Exchange) -> None:
        """Belong to another exchange from here on."""
        self._exchange = exchange
        if not self._open:
            exchange.stream = None

    def start(self, data: bytes) -> None:
        """Decode what came with the head."""
        if data:
            self._piece = self._feed(data)

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end. ProxyError when the upstream fails within the body."""
        if self._piece:
            piece, self._piece = self._piece, b""
            return piece
        connection = self._connection
        stream = connection.stream
        exchange = self._exchange
        while self._open:
            try:
                arm(stream, exchange, current_time(), exchange.route.timeouts.idle, "idle")
                data = await stream.receive_ready(LARGE_READ)
                if not data:
                    self._end_of_stream()
                    return b""
            except StreamError as error:
                self.abandon()
                raise self._broken(error) from error
            except BaseException:
                self.abandon()
                raise
            piece = self._feed(data)
            if piece:
                return piece
        return b""

    def take_ready(self) -> bytes | None:
        """Return the whole body when it is decoded already and has no trailers."""
        if self._open or self.trailers:
            return None
        return self.take_pending()

    def take_pending(self) -> bytes:
        """Return the piece at hand."""
        piece, self._piece = self._piece, b""
        return piece

    def rewind(self) -> None:
        """Never: response bodies are read once."""
        raise AssertionError("a response body is read once")

    def abandon(self) -> None:
        """Close the connection when its body has not ended."""
        if self._open:
            self._open = False
            self._exchange.stream = None
            self._connection.drop()

    def _feed(self, data: bytes) -> bytes:
        try:
            piece = self._decoder.feed(data)
        except ValueError as error:
            self.abandon()
            raise bad_response(f"the response body is malformed: {error}") from None
        if self._decoder.done:
            self._finish()
        return piece

    def _end_of_stream(self) -> None:
        try:
            self._decoder.finish()
        except ValueError as error:
            raise Broken(str(error)) from None
        self._keep_alive = False
        self._finish()

    def _finish(self) -> None:
        self._open = False
        self.trailers = self._decoder.trailers
        self._connection.buffer = self._decoder.surplus
        self._connection.finish(self._exchange, current_time(), reusable=self._keep_alive)

    def _broken(self, error: StreamError) -> ProxyError:
        if isinstance(error, Late):
            return late_error(self._exchange, error.reason)
        return ProxyError(
            502,
            Flag.UPSTREAM_DISCONNECT,
            "http_response_incomplete",
            f"the response body broke off: {error}",
            side=Side.UPSTREAM,
        )


class UpgradedBody(BytesBody):
    """Stands for the connection after a 101; whoever takes the stream relays it and then abandons the body."""

    __slots__ = ("_connection", "_open")

    def __init__(self, connection: "Connection") -> None:
        super().__init__()
        self._connection = connection
        self._open = True

    @property
    def stream(self) -> Stream:
        """The upstream stream."""
        return self._connection.stream

    @property
    def surplus(self) -> bytes:
        """Bytes that came after the 101's head: the first frames."""
        return self._connection.buffer

    def abandon(self) -> None:
        """Close the connection."""
        if self._open:
            self._open = False
            self._connection.drop()
