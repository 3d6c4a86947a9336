"""The body of a response on an HTTP/2 stream."""

from typing import TYPE_CHECKING

from trio import current_time

from proxyd.core.errors import bad_response
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.net.stream import LARGE_READ, StreamError
from proxyd.upstream.deadline import arm
from proxyd.wire.http2 import Code
from proxyd.wire.http2_head import MalformedError

if TYPE_CHECKING:
    from proxyd.upstream.http2_call import Call


class ResponseBody:
    """Pulled from a call: the peer may send more once a piece was taken. It gives the call's room back at the end."""

    __slots__ = ("_call", "_left", "_open", "_piece", "length", "trailers")

    replayable = False

    def __init__(self, call: "Call", length: int | None) -> None:
        """``length`` is what the head says; MalformedError where more or less has come."""
        self._call = call
        self.length = length
        self._left = length
        self._open = True
        self.trailers: Headers = []
        self._piece = self._count(call.take_all())
        if call.finished:
            self._finish()

    @property
    def is_bare(self) -> bool:
        """Whether it has come to its end without a byte: trailers may have come."""
        return not self._open and not self._piece

    def adopt(self, exchange: Exchange) -> None:
        """Belong to another exchange from here on."""
        self._call.exchange = exchange
        if not self._open:
            exchange.stream = None

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end. ProxyError when the upstream fails within the body."""
        if self._piece:
            return self.take_pending()
        call = self._call
        while self._open:
            exchange = call.exchange
            try:
                arm(call, exchange, current_time(), exchange.route.timeouts.idle, "idle")
                piece = self._count(await call.receive())
                while call.held and len(piece) < LARGE_READ:
                    piece += self._count(call.take())
                if call.finished and not call.held:
                    self._finish()
            except StreamError as error:
                self.abandon()
                raise call.broken(error) from error
            except MalformedError as error:
                self.abandon(Code.PROTOCOL_ERROR)
                raise bad_response(f"the response body is malformed: {error}") from None
            except BaseException:
                self.abandon()
                raise
            if piece:
                return piece
        return b""

    def take_ready(self) -> bytes | None:
        """Return the whole body when all of it is there and no trailers follow."""
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

    def abandon(self, code: int = Code.CANCEL) -> None:
        """Reset the stream when its body has not ended."""
        if self._open:
            self._open = False
            self._call.drop(code)

    def _count(self, piece: bytes) -> bytes:
        """RFC 9113 §8.1.1: content-length is the sum of all DATA."""
        if self._left is not None and piece:
            self._left -= len(piece)
            if self._left < 0:
                raise MalformedError("it is longer than content-length says")
        return piece

    def _finish(self) -> None:
        if self._left:
            raise MalformedError("it is shorter than content-length says")
        self.trailers = self._call.read_trailers()
        self._open = False
        self._call.complete(current_time())
