"""Many lanes over one stream: what a multiplexing protocol needs of sockets and tasks, whatever its frames mean.

One task reads (``read``, driven by the owner, who sorts what came into lanes), one task writes (``run_writer``). Lanes
queue their output with the engine and wake the writer, so that what many lanes say within one turn of the loop leaves
in one send. A lane that has more to say than there is room for waits in line; each gets a frame in turn. While the peer
takes nothing, lanes add nothing, and nothing more is read: every buffer has a bound.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from trio import current_time
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from proxyd.net.stream import LARGE_READ, NEVER, Late, Stream, StreamError

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


class Waiter:
    """One task that waits: for a lane, for the writer's turn, for something to do."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: Task | None = None

    async def wait(self) -> None:
        """Wait until woken."""
        assert self.task is None, "one task waits"
        self.task = current_task()
        await wait_task_rescheduled(self._withdraw)

    def wake(self) -> None:
        """Let the task go on, if one waits."""
        task, self.task = self.task, None
        if task is not None:
            reschedule(task)

    def _withdraw(self, _: RaiseCancelT) -> Abort:
        self.task = None
        return Abort.SUCCEEDED


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

    def __init__(self, multiplex: "Multiplex", number: int) -> None:
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


def _unwatched(_: Lane) -> None:
    """Nobody looks at lanes' deadlines."""


class Multiplex:
    """One connection. The owner reads, sorts events into lanes, and runs ``run_writer`` beside."""

    def __init__(
        self, stream: Stream, engine: Engine, output_bytes: int, watch: Callable[[Lane], None] = _unwatched
    ) -> None:
        self.stream = stream
        self.watch = watch
        """Has the reaper look at a lane's deadline."""
        self.engine = engine
        self.lanes: dict[int, Lane] = {}
        self._output_bytes = output_bytes
        self._queued = 0
        """Body bytes queued with the engine and not handed to the stream yet."""
        self._dirty = False
        self._writing = False
        self._rest = b""
        """What ``flush`` found no room for: it goes first."""
        self._unanswered = 0
        """Bytes read since the writer began to wait for the peer."""
        self._line: deque[Lane] = deque()
        """Lanes that wait for their turn, longest first."""
        self._crowded = False
        """Several had theirs last."""
        self._stuck: dict[int, Lane] = {}
        """Lanes that wait for a window."""
        self._writer = Waiter()
        self._drained = Waiter()
        self._closing = False
        self._deadline = NEVER
        self._late = "idle"

    def __repr__(self) -> str:
        return f"<Multiplex lanes={len(self.lanes)} queued={self._queued} {self.stream!r}>"

    @property
    def is_full(self) -> bool:
        """Whether lanes should add nothing now."""
        return self._queued >= self._output_bytes

    @property
    def is_crowded(self) -> bool:
        """Whether other lanes wait for their turn."""
        return self._crowded or bool(self._line)

    def add(self, lane: Lane) -> None:
        """A stream begins."""
        self.lanes[lane.id] = lane

    def forget(self, lane: Lane) -> None:
        """A stream is over."""
        self.lanes.pop(lane.id, None)
        self._stuck.pop(lane.id, None)
        self.engine.forget(lane.id)

    def arm(self, deadline: float, late: str) -> None:
        """Let the reaper end the connection at ``deadline``; a send that waits for the peer has its own bound."""
        self._deadline, self._late = deadline, late
        if not self._writing:
            self.stream.deadline, self.stream.late = deadline, late

    def credit(self, number: int, size: int) -> None:
        """Give back what a lane consumed."""
        if size and self.engine.credit(number, size):
            self.touch(0)

    def touch(self, size: int) -> None:
        """``size`` more body bytes were queued with the engine, or something small: the writer sees to it."""
        self._queued += size
        if not self._dirty:
            self._dirty = True
            self._writer.wake()

    def queue(self, lane: Lane, *, stuck: bool) -> None:
        """Put a lane in line for its turn, or for a window."""
        if stuck:
            self._stuck[lane.id] = lane
        else:
            self._line.append(lane)

    def opened(self, number: int) -> None:
        """A window opened: the stream's, or the connection's (0)."""
        if number:
            lane = self._stuck.pop(number, None)
            if lane is not None:
                lane.wake_writer()
        elif self._stuck:
            stuck, self._stuck = self._stuck, {}
            for lane in stuck.values():
                lane.wake_writer()

    async def read(self) -> bytes:
        """Return what came, ``b""`` at the end.

        While the peer takes nothing, no more is read than it is good for: what is read may have to be answered.
        """
        while self._writing and self._unanswered >= self._output_bytes:
            await self._drained.wait()
        data = await self.stream.receive(LARGE_READ)
        if self._writing:
            self._unanswered += len(data)
        return data

    async def run_writer(self) -> None:
        """Write what lanes and engine queue, until ``finish``; StreamError when the stream fails."""
        stream, engine = self.stream, self.engine
        while True:
            if not self._dirty:
                if self._closing:
                    return
                await self._writer.wait()
            self._dirty = False
            queued = self._queued
            data = engine.take()
            if self._rest:
                data, self._rest = self._rest + data, b""
            if data:
                self._writing = True
                await stream.send(data)
                self._writing = False
                stream.deadline, stream.late = self._deadline, self._late
            self._queued -= queued
            self._unanswered = 0
            self._drained.wake()
            if self._line:
                line, self._line = self._line, deque()
                self._crowded = len(line) > 1
                for lane in line:
                    lane.wake_writer()

    def flush(self) -> None:
        """Write now what there is room for, a turn of the loop before the writer would: for who is alone."""
        if self._writing or self._rest:
            return
        queued, data = self._queued, self.engine.take()
        if not data:
            return
        try:
            self._rest = self.stream.send_nowait(data)
        except StreamError:
            return  # the reader meets the same
        if not self._rest:
            self._queued -= queued
            self._unanswered = 0

    def finish(self) -> None:
        """Let the writer end once everything is out."""
        self._closing = True
        self._writer.wake()

    def fail(self, reason: str) -> None:
        """The connection is over: so is every lane."""
        for lane in list(self.lanes.values()):
            lane.fail(reason)
        self._line.clear()
        self._stuck.clear()
        self._drained.wake()
