"""A request body on its way from the client."""

from typing import Protocol

import trio
from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Side, bad_request
from proxyd.core.headers import Headers
from proxyd.core.limits import Limits
from proxyd.core.units import KIB
from proxyd.net.stream import NEVER, Stream, StreamError
from proxyd.wire.decode import ChunkedDecoder, LengthDecoder

GATHER_BYTES = 64 * KIB
"""A body of up to this size that arrives with or right after its head is sent on in one piece, and can be replayed."""


class Buffered(Protocol):
    """The connection that the body comes from; ``buffer`` takes what follows the body."""

    stream: Stream
    buffer: bytes


class RequestBody:
    """Pulled from the downstream connection; held in memory when it is short and there already."""

    __slots__ = ("_connection", "_credit", "_decoder", "_limits", "_piece", "_whole", "length", "read_size", "trailers")

    def __init__(
        self,
        connection: Buffered,
        decoder: LengthDecoder | ChunkedDecoder,
        length: int | None,
        limits: Limits,
        *,
        invited: bool = False,
    ) -> None:
        # An ``invited`` body comes when the upstream has said 100-continue: until then the client is not slow.
        self._connection = connection
        self._decoder = decoder
        self._limits = limits
        self._credit = limits.idle_timeout if invited else limits.body_rate_grace
        self._whole: bytes | None = None
        self.length = length
        self.trailers: Headers = []
        self.read_size = limits.read_bytes
        data, connection.buffer = connection.buffer, b""
        self._piece = self._feed(data) if data else b""
        if not self.ended and length is not None and length <= GATHER_BYTES:
            self._gather()
        if self.ended and not self.trailers:
            self._whole = self._piece

    @property
    def ended(self) -> bool:
        """Whether all of it has arrived."""
        return self._decoder.done

    @property
    def replayable(self) -> bool:
        """Whether it is held in memory."""
        return self._whole is not None

    async def read(self) -> bytes:
        """Return the next piece. ProxyError 400 for a malformed body, 408 for one that stalls, 499 when cut off."""
        while True:
            if self._piece:
                return self.take_pending()
            if self._decoder.done:
                return b""
            data = await self._receive()
            if not data:
                raise ProxyError(
                    499,
                    Flag.DOWNSTREAM_DISCONNECT,
                    "connection_terminated",
                    "the client left within its request body",
                    side=Side.DOWNSTREAM,
                )
            self._piece = self._feed(data)

    def take_ready(self) -> bytes | None:
        """Return the whole body where it is in memory."""
        if self._whole is None:
            return None
        self._piece = b""
        return self._whole

    def take_pending(self) -> bytes:
        """Return the piece at hand."""
        piece, self._piece = self._piece, b""
        return piece

    def rewind(self) -> None:
        """Start again where the body is in memory; a body that nobody read is at its start."""
        if self._whole is not None:
            self._piece = self._whole

    def abandon(self) -> None:
        """Nothing to release: the connection decides what becomes of unread bytes."""
        self._piece = b""

    def _gather(self) -> None:
        """Take what has arrived meanwhile, without waiting."""
        try:
            more = self._connection.stream.receive_nowait(GATHER_BYTES)
        except StreamError:
            return  # the next read meets the same failure
        if more:
            self._piece += self._feed(more)

    def _feed(self, data: bytes) -> bytes:
        decoder = self._decoder
        try:
            piece = decoder.feed(data)
        except ValueError as error:
            raise bad_request(f"the request body is malformed: {error}") from None
        if decoder.done:
            self._connection.buffer = decoder.surplus
            self.trailers = decoder.trailers
        return piece

    async def _receive(self) -> bytes:
        """Wait for bytes, at the minimum rate: waiting spends credit, bytes earn it back, up to the grace."""
        limits = self._limits
        before = current_time()
        data: bytes | None = None
        try:
            with trio.move_on_after(max(0.0, self._credit) if limits.body_rate else NEVER):
                data = await self._connection.stream.receive_ready(self.read_size)
        except StreamError as error:
            raise ProxyError(
                499,
                Flag.DOWNSTREAM_DISCONNECT,
                "connection_terminated",
                f"the client's connection failed within its request body: {error}",
                side=Side.DOWNSTREAM,
            ) from error
        if data is None:
            raise ProxyError(
                408, Flag.DOWNSTREAM_TIMEOUT, "http_request_error", "the body stalled", side=Side.DOWNSTREAM
            )
        if limits.body_rate:
            earned = len(data) / limits.body_rate
            self._credit = min(limits.body_rate_grace, self._credit - (current_time() - before) + earned)
        return data
