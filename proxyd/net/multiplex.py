"""Many lanes over one stream: what a multiplexing protocol needs of sockets and tasks, whatever its frames mean.

One task reads (``read``, driven by the owner, who sorts what came into lanes), one task writes (``run_writer``). Lanes
queue their output with the engine and wake the writer, so that what many lanes say within one turn of the loop leaves
in one send. A lane that has more to say than there is room for waits in line; each gets a frame in turn. While the peer
takes nothing, lanes add nothing, and nothing more is read: every buffer has a bound.
"""

from collections import deque
from collections.abc import Callable

from proxyd.net.lane import Engine, Lane
from proxyd.net.stream import LARGE_READ, NEVER, Stream, StreamError
from proxyd.net.waiter import Waiter


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
