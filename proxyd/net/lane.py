"""One stream of a multiplexed connection, as the tasks that read and write it see it.

What came waits here until it is taken, and its credit with it; what goes out is queued with the engine frame by frame.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from trio import current_time

from proxyd.net.stream import NEVER, Late, Stream
from proxyd.net.waiter import Waiter

CANCEL = 0x8
"""The error code for lanes that are not wanted any more (RFC 9113 §7)."""


_SMALL = 4096
"""Pieces up to this size are put together while they wait: each costs a hundred bytes besides its own."""


_TURN = 4
"""Frames that a lane may send at a time where no other waits in line."""


class Engine(Protocol):
    """The protocol's state without sockets (proxyd.wire.http2.Codec)."""

    def take(self) -> bytes:
        """Return what is to be sent, once."""
        ...

    def room(self, stream: int) -> int:
        """Return how many bytes may be queued on a stream now, in one frame. KeyError when it is over."""
        ...

    def data(self, stream: int, data: bytes | memoryview, *, ended: bool) -> None:
        """Queue a piece of a body. KeyError when the stream is over."""
        ...

    def credit(self, stream: int, size: int) -> bool:
        """Give back what was consumed; True when that queued something."""
        ...

    def forget(self, stream: int) -> None:
        """Nothing more is consumed on a stream."""
        ...

    def reset(self, stream: int, code: int) -> None:
        """End a stream before its time."""
        ...


class Carrier(Protocol):
    """What a lane needs of the connection that carries it (net.multiplex)."""

    stream: Stream
    engine: Engine
    watch: Callable[["Lane"], None]

    @property
    def is_full(self) -> bool:
        """Whether lanes should add nothing now."""
        ...

    @property
    def is_crowded(self) -> bool:
        """Whether other lanes wait for their turn."""
        ...

    def forget(self, lane: "Lane") -> None:
        """A stream is over."""
        ...

    def credit(self, number: int, size: int) -> None:
        """Give back what a lane consumed."""
        ...

    def touch(self, size: int) -> None:
        """``size`` more body bytes were queued with the engine, or something small: the writer sees to it."""
        ...

    def queue(self, lane: "Lane", *, stuck: bool) -> None:
        """Put a lane in line for its turn, or for a window."""
        ...


class Lane:
    """One stream of a multiplexed connection: what came on it, and who waits for it.

    To the reaper and to an exchange it looks like a stream: ``deadline``, ``late``, ``expire``.
    """

    __slots__ = (
        "_arrived",
        "_multiplex",
        "_pieces",
        "_room",
        "busy_since",
        "code",
        "deadline",
        "ended",
        "finished",
        "hangup",
        "id",
        "late",
        "sent",
        "trailers",
    )

    def __init__(self, multiplex: Carrier, number: int) -> None:
        self._multiplex = multiplex
        self.id = number
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._arrived = Waiter()
        self._room = Waiter()
        self.finished = False
        """The peer's side has ended as it should."""
        self.trailers: list[Any] = []
        self.ended: str | None = None
        """Why the lane is over before its time, once it is."""
        self.code: int | None = None
        """The peer's code, where it was the peer who ended it."""
        self.sent = 0
        """Bytes of bodies queued so far."""
        self.deadline = NEVER
        self.late = "idle"
        self.busy_since = NEVER
        self.hangup: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Lane {self.id} finished={self.finished} ended={self.ended!r}>"

    # --- from the reading task --------------------------------------------------------------------

    def arrive(self, data: bytes, credit: int, *, ended: bool) -> None:
        """A piece came; its credit goes back when it is taken, or at once where nobody will."""
        if self.ended is not None:
            self._multiplex.credit(self.id, credit)
            return
        if data:
            pieces = self._pieces
            if pieces and len(data) + len(pieces[-1][0]) <= _SMALL:
                former, owed = pieces.pop()
                data, credit = former + data, owed + credit
            pieces.append((data, credit))
        elif credit:
            self._multiplex.credit(self.id, credit)
        if ended:
            self.finished = True
        self._arrived.wake()

    def finish(self, trailers: list[Any]) -> None:
        """The peer's side ended with trailers."""
        self.trailers = trailers
        self.finished = True
        self._arrived.wake()

    def wake_reader(self) -> None:
        """Something else came that the lane's reader waits for by ``wait``: a head."""
        self._arrived.wake()

    def wake_writer(self) -> None:
        """There is room again."""
        self._room.wake()

    def fail(self, reason: str, code: int | None = None) -> None:
        """The lane is over, by the peer's doing or the connection's; whoever waits is told by Late(reason)."""
        if self.ended is None:
            self.ended = reason
            self.code = code
            self._drop_pieces()
            self._multiplex.forget(self)
            self._arrived.wake()
            self._room.wake()

    @property
    def held(self) -> int:
        """Bytes that came and were not taken."""
        return sum(len(data) for data, _ in self._pieces)

    # --- from the lane's own tasks ----------------------------------------------------------------

    async def wait(self) -> None:
        """Wait until anything comes. Late when the lane is over."""
        if self.ended is None:
            await self._arrived.wait()
        if self.ended is not None:
            raise Late(self.ended)

    def take(self) -> bytes:
        """Return the next piece that is there already, ``b""`` when none is."""
        if not self._pieces:
            return b""
        data, credit = self._pieces.popleft()
        self._multiplex.credit(self.id, credit)
        return data

    async def receive(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Late when the lane is over before it."""
        while not self._pieces:
            if self.finished:
                return b""
            await self.wait()
        return self.take()

    async def send(self, data: bytes, *, ended: bool = False) -> None:
        """Queue all of ``data``, frame by frame as there is room; with ``ended`` this side is over. Late as receive."""
        multiplex = self._multiplex
        engine = multiplex.engine
        frames = 0
        rest: bytes | memoryview = data
        while True:
            if self.ended is not None:
                raise Late(self.ended)
            try:
                room = engine.room(self.id) if rest and not multiplex.is_full else 0
                if len(rest) <= room or not rest:
                    engine.data(self.id, rest, ended=ended)
                    self.sent += len(rest)
                    multiplex.touch(len(rest))
                    return
                if room:
                    rest = memoryview(rest)
                    engine.data(self.id, rest[:room], ended=False)
                    self.sent += room
                    multiplex.touch(room)
                    rest = rest[room:]
                    frames += 1
                    if frames < _TURN and not multiplex.is_crowded:
                        continue
            except KeyError:
                raise Late(self.ended or "closed") from None
            frames = 0
            if rest and not room and not multiplex.is_full:
                multiplex.queue(self, stuck=True)
                await self._window()
            else:
                multiplex.queue(self, stuck=False)
                await self._room.wait()

    async def _window(self) -> None:
        """Wait for a window, for as long as the stream may wait for room at the most."""
        multiplex = self._multiplex
        deadline, late = self.deadline, self.late
        stalled = current_time() + multiplex.stream.stall
        if stalled < deadline:
            self.deadline, self.late = stalled, "stall"
            multiplex.watch(self)
        try:
            await self._room.wait()
        finally:
            self.deadline, self.late = deadline, late

    def touch(self) -> None:
        """Something small was queued on it."""
        self._multiplex.touch(0)

    def expire(self, reason: str, code: int = CANCEL) -> None:
        """End it before its time and tell the peer."""
        if self.ended is None:
            self._multiplex.engine.reset(self.id, code)
            self._multiplex.touch(0)
            self.fail(reason)

    def close(self) -> None:
        """End it if it is not over yet; idempotent."""
        self.expire("closed")

    def retire(self) -> None:
        """Both sides are done, or nobody cares for what is left of the peer's: give back what was not taken."""
        self._drop_pieces()
        if self.ended is None:
            self.ended = "done"
        self._multiplex.forget(self)

    def _drop_pieces(self) -> None:
        credit = 0
        while self._pieces:
            credit += self._pieces.popleft()[1]
        self._multiplex.credit(self.id, credit)
