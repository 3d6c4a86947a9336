"""One upstream HTTP/2 connection, which many exchanges share.

A task reads and sorts what comes into calls, and a task writes (net.multiplex); both are the connection's own and end
with it. An exchange waits for its call alone. A connection that fails fails its calls, each with a verdict of its own:
what GOAWAY or REFUSED_STREAM prove unprocessed may be sent again, whatever its method (RFC 9113 §8.7).
"""

import select
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from trio import current_time

from proxyd.core.errors import bad_response
from proxyd.core.exchange import Exchange
from proxyd.core.headers import Headers
from proxyd.core.limits import Http2Limits, Limits
from proxyd.core.message import Response
from proxyd.core.units import KIB
from proxyd.net.lane import Lane
from proxyd.net.multiplex import Multiplex
from proxyd.net.stream import NEVER, Stream, StreamError
from proxyd.upstream.http2_call import BROKEN, REFUSED, Call
from proxyd.upstream.shared import Shared, SharedPool
from proxyd.wire.http2 import (
    Code,
    Codec,
    Data,
    Event,
    Going,
    Head,
    Http2Error,
    Pong,
    Reset,
    Room,
    Settled,
    Trailers,
)
from proxyd.wire.http2_head import MalformedError

LIMITS: Final = Http2Limits()

SETTLE_SECONDS: Final = 10.0
"""From the handshake to the peer's SETTINGS."""
STALL_SECONDS: Final = 30.0
"""For which a peer may take nothing of what waits to be written."""
GOODBYE_SECONDS: Final = 1.0
"""For what is left to write when the connection ends, and for the peer to leave."""
LINGER_BYTES: Final = 256 * KIB
"""What is read and dropped meanwhile."""

_PING: Final = b"upstream"

Spawn = Callable[[Callable[[], Awaitable[None]]], object]


class Connection(Shared):
    """A connection of one pool. The pool owns it; exchanges take room on it."""

    pool: SharedPool

    def __init__(
        self,
        stream: Stream,
        pool: SharedPool,
        peer: str,
        watch: Callable[[Lane], None],
        spawn: Spawn,
        limits: Http2Limits = LIMITS,
    ) -> None:
        super().__init__(pool, current_time())
        self.stream = stream
        self.peer = peer
        """``ip:port`` that was dialled."""
        self.codec = Codec(client=True, limits=limits)
        self.multiplex = Multiplex(stream, self.codec, limits.output_bytes, watch)
        self.watch = watch
        self.spawn = spawn
        """Starts a task that ends by itself when the connection does."""
        self.violation = ""
        """What the peer did that HTTP/2 forbids, where that ended the connection."""
        self.over: str | None = None
        """Why nothing more comes, once that is so."""
        self.reads = 0
        """Times that something came."""
        self._heard = 0
        """``reads`` when the pool last looked ..."""
        self._silent_since = self.born
        """... and since when it had not grown."""
        self._asked_at = 0.0
        """When a PING went out that has no answer; 0: none did."""
        self._poll: select.poll | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.peer} requests={self.requests} taken={self.taken} over={self.over!r}>"

    def start(self) -> None:
        """Greet the peer; from here on the connection looks after itself."""
        self.stream.stall = STALL_SECONDS
        self.multiplex.arm(self.born + SETTLE_SECONDS, "settings")
        self.codec.begin()
        self.multiplex.touch(0)
        self.spawn(self._run)

    async def round_trip(
        self, exchange: Exchange, host: bytes, headers: Headers, path: bytes, via: bytes, limits: Limits
    ) -> Response:
        """Send the request and return the response once its head is there.

        The room on the connection is given back when the response body ends. ProxyError says whether a retry is safe.
        """
        now = exchange.ready if exchange.reused and exchange.attempts == 1 else current_time()
        call = Call(self, exchange)
        try:
            call.begin(now, host, headers, path, via)
            return await call.response(now, limits)
        except StreamError as error:
            failure = call.failed(error)
            call.drop()
            raise failure from error
        except MalformedError as error:
            call.drop(Code.PROTOCOL_ERROR)
            raise bad_response(f"the response is malformed: {error}") from None
        except BaseException:
            call.drop()
            raise

    # --- Shared -----------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        """Whether nothing says that it ends. Where nothing is under way, a FIN that nobody has read yet counts too."""
        if self.over is not None or self.is_leaving or self.stream.ended is not None:
            return False
        if self.taken:
            return True
        poll = self._poll
        if poll is None:
            poll = self._poll = select.poll()
            poll.register(self.stream.sock.fileno(), select.POLLRDHUP)
        return not poll.poll(0)

    def close(self) -> None:
        """End it: what is queued is still written, within bounds."""
        self.fail("closed")

    def tend(self, now: float) -> None:
        """Ask a silent peer whether it is there, where exchanges wait for it."""
        if self.reads != self._heard or not self.taken:
            self._heard, self._silent_since, self._asked_at = self.reads, now, 0.0
            return
        limits = self.pool.limits
        if self._asked_at:
            if now - self._asked_at >= limits.ping_timeout:
                self.fail(BROKEN)
                self.stream.expire("ping")
        elif 0 < limits.ping <= now - self._silent_since:
            self._asked_at = now
            self.codec.ping(_PING)
            self.multiplex.touch(0)

    # --- its own tasks ----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.fail(BROKEN)
            self.stream.close()

    async def _write(self, all_of_it: trio.CancelScope) -> None:
        """Write until all is said, then FIN."""
        try:
            await self.multiplex.run_writer()
            self.stream.shut_write()
        except StreamError:
            self.fail(BROKEN)
            all_of_it.cancel()

    async def _read(self) -> None:
        """Read until the peer has left, or until it has had time to read our goodbye: a reset would eat that."""
        left = LINGER_BYTES
        try:
            while self.over is None and (data := await self.multiplex.read()):
                self.reads += 1
                for event in self.codec.receive(data):
                    self._sort(event)
                self.multiplex.touch(0)
        except Http2Error as error:
            self.violation = str(error)
        except StreamError:
            left = 0  # the peer left, or the reaper ended the connection
        self.fail(BROKEN)
        try:
            while left > 0 and (data := await self.stream.receive()):
                left -= len(data)
        except StreamError:
            return

    def _sort(self, event: Event) -> None:
        calls = self.multiplex.lanes
        match event:
            case Data(number, data, credit, ended):
                lane = calls.get(number)
                if lane is not None:
                    lane.arrive(data, credit, ended=ended)
                else:
                    self.multiplex.credit(number, credit)
                    self.codec.forget(number)
            case Head():
                lane = calls.get(event.stream)
                if lane is not None:
                    assert isinstance(lane, Call)
                    lane.arrive_head(event)
            case Trailers(number, fields):
                lane = calls.get(number)
                if lane is not None:
                    lane.finish(fields)
            case Room(number):
                self.multiplex.opened(number)
            case Reset(number, code):
                lane = calls.get(number)
                if lane is not None:
                    assert isinstance(lane, Call)
                    lane.arrive_reset(code)
            case Settled():
                if not self.is_settled:
                    self.multiplex.arm(NEVER, "idle")
                self.settled(self.codec.max_streams, current_time())
            case Going(last, code):
                self._go(last, code)
            case Pong():
                pass  # that something came is what counts

    def _go(self, last: int, code: int) -> None:
        """GOAWAY: streams above ``last`` were not processed, the others go on (RFC 9113 §6.8)."""
        for lane in [lane for number, lane in self.multiplex.lanes.items() if number > last]:
            lane.fail(REFUSED, code)
        self.leave(current_time())

    def fail(self, reason: str) -> None:
        """Nothing more comes: so it is for every call that waits for more. What is queued is still written."""
        if self.over is not None:
            return
        self.over = reason
        self.is_leaving = True
        self.codec.going(Code.NO_ERROR)
        self.multiplex.touch(0)
        lanes = self.multiplex.lanes
        for number in [number for number, lane in lanes.items() if lane.finished]:
            del lanes[number]  # its response is complete, and only waits to be taken
        self.multiplex.fail(reason)
        self.multiplex.finish()
        self.multiplex.arm(current_time() + GOODBYE_SECONDS, "closed")
        self.pool.lost(self)
