"""A request body on its way from an HTTP/2 client."""

import trio
from trio import current_time

from proxyd.core.errors import Flag, ProxyError, Side, bad_request
from proxyd.core.headers import Headers
from proxyd.core.limits import Limits
from proxyd.core.message import BytesBody
from proxyd.core.units import KIB
from proxyd.net.lane import Lane
from proxyd.net.stream import NEVER, StreamError

GATHER_BYTES = 64 * KIB
"""A body of up to this size that is all there when its exchange begins is sent on in one piece, and can be replayed."""


class Http2Body:
    """Pulled from a lane: the client may send on as its pieces are taken."""

    __slots__ = ("_credit", "_lane", "_rate", "_rate_grace", "_taken", "fault", "length", "read_size", "trailers")

    replayable = False

    def __init__(self, lane: Lane, length: int | None, limits: Limits, *, invited: bool, is_talk: bool) -> None:
        # An ``invited`` body comes when the upstream has said 100-continue: until then the client is not slow. A body
        # that ``is_talk`` has messages in it (gRPC), which come when there is something to say.
        self._lane = lane
        self._rate = 0 if is_talk else limits.body_rate
        self._rate_grace = limits.body_rate_grace
        self._credit = limits.idle_timeout if invited else limits.body_rate_grace
        self._taken = 0
        self.fault: ProxyError | None = None
        """What makes the request malformed (RFC 9113 §8.1.1), once that is so."""
        self.length = length
        self.trailers: Headers = []
        self.read_size = limits.read_bytes

    @property
    def ended(self) -> bool:
        """Whether all of it has arrived."""
        return self._lane.finished

    async def read(self) -> bytes:
        """Return the next piece. ProxyError 400 for a wrong length, 408 for a body that stalls, 499 when cut off."""
        lane = self._lane
        while True:
            piece = lane.take()
            if piece:
                return self._count(self._more(piece))
            if lane.finished:
                self.trailers = lane.trailers
                if self.length is not None and self._taken != self.length:
                    raise self._malformed()
                return b""
            await self._wait()

    def _more(self, piece: bytes) -> bytes:
        """Join what else is there: frames are small."""
        size = len(piece)
        pieces = [piece]
        while size < self.read_size and (piece := self._lane.take()):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces) if len(pieces) > 1 else pieces[0]

    def _count(self, piece: bytes) -> bytes:
        self._taken += len(piece)
        if self.length is not None and self._taken > self.length:
            raise self._malformed()
        if self._rate:
            self._credit = min(self._rate_grace, self._credit + len(piece) / self._rate)
        return piece

    def _malformed(self) -> ProxyError:
        self.fault = self.fault or _wrong_length()
        return self.fault

    async def _wait(self) -> None:
        """Wait for bytes, at the minimum rate: waiting spends credit, bytes earn it back, up to the grace."""
        before = current_time()
        try:
            with trio.move_on_after(max(0.0, self._credit) if self._rate else NEVER) as scope:
                await self._lane.wait()
        except StreamError as error:
            raise ProxyError(
                499,
                Flag.DOWNSTREAM_DISCONNECT,
                "connection_terminated",
                f"the client's stream ended within its request body: {error}",
                side=Side.DOWNSTREAM,
            ) from error
        if scope.cancelled_caught:
            raise ProxyError(
                408, Flag.DOWNSTREAM_TIMEOUT, "http_request_error", "the body stalled", side=Side.DOWNSTREAM
            )
        self._credit -= current_time() - before

    def take_ready(self) -> bytes | None:
        """Nothing: what is in memory as a whole has a body of its own."""
        return None

    def take_pending(self) -> bytes:
        """Return the piece at hand."""
        return self._count(self._lane.take())

    def rewind(self) -> None:
        """Nothing to do: a body that nobody read is at its start, and no other is tried again."""

    def abandon(self) -> None:
        """Nothing to release: the stream's end gives back what was not read."""


def body_of(
    lane: Lane, length: int | None, limits: Limits, *, invited: bool, is_talk: bool = False
) -> BytesBody | Http2Body:
    """Return the body of a request whose head came, in memory where all of it has come. ProxyError 400."""
    if not lane.finished or lane.trailers or lane.held > GATHER_BYTES:
        return Http2Body(lane, length, limits, invited=invited, is_talk=is_talk)
    pieces = []
    while piece := lane.take():
        pieces.append(piece)
    whole = b"".join(pieces)
    if length is not None and len(whole) != length:
        raise _wrong_length()
    return BytesBody(whole)


def _wrong_length() -> ProxyError:
    return bad_request("the body is not as long as content-length says (RFC 9113 §8.1.1)")
