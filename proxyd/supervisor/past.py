"""A generation that another one has succeeded: its workers drain, its control looks after them, nobody is replaced."""

import math
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from proxyd.core.counts import SharedCounts
from proxyd.core.messages import Generations, Message, Predecessor, Retire, WorkerExited
from proxyd.supervisor.children import Child, Control, Worker, describe_exit
from proxyd.supervisor.fleet import Fleet
from proxyd.supervisor.notice import say


@dataclass(slots=True, eq=False)
class Past:
    """One such generation. Its control serves leaves and takes statistics until the last worker is gone."""

    number: int
    control: Control | None
    fleet: Fleet
    is_ending: bool = False
    """Its control was told to end."""
    kept_until: float = -math.inf
    """Monotonic seconds until which its control is kept all the same: somebody waits for its answer."""

    def __iter__(self) -> Iterator[Child]:
        """Iterate over its processes."""
        if self.control:
            yield self.control
        yield from self.fleet

    @property
    def is_over(self) -> bool:
        """Whether none of its processes is left."""
        return self.control is None and not self.fleet

    @property
    def next_deadline(self) -> float:
        """When ``tick`` has something to do."""
        deadlines = [self.fleet.next_deadline]
        if self.control:
            deadlines.append(self.control.next_deadline)
            if not self.fleet and not self.is_ending:
                deadlines.append(self.kept_until)
        return min(deadlines)

    def tick(self, now: float, stop_seconds: float) -> None:
        """Kill who is late; end control when it has no worker left."""
        self.fleet.tick(now)
        if self.control and not self.fleet and not self.is_ending and self.kept_until <= now:
            self.is_ending = True
            self.control.end(now, stop_seconds)
        if self.control:
            self.control.check(now)

    def exited(self, pid: int, status: int, now: float) -> bool:
        """Note that a process was reaped; False when it was none of this generation."""
        words = describe_exit(status)[1]
        if self.control and pid == self.control.pid:
            if not self.is_ending:
                say(f"control of generation {self.number} (pid {pid}) is gone: {words}; its workers drain on")
            self.control.link.close()
            self.control = None
            return True
        worker = self.fleet.exited(pid, status, now)
        if worker is not None and self.control:
            self.control.tell(WorkerExited(worker.index, pid, words))
        return worker is not None


class Pasts:
    """All of them."""

    def __init__(self) -> None:
        self._generations: list[Past] = []

    def __iter__(self) -> Iterator[Past]:
        """Iterate over them, the oldest first."""
        return iter(list(self._generations))

    def __len__(self) -> int:
        return len(self._generations)

    def adopt(self, generations: Sequence[Past]) -> None:
        """Take in generations of an earlier supervisor.

        One whose last process had ended its link when the state was written comes without any: its exit was or will
        be reaped as nobody's, so it is over here and now, and nothing else would ever say so.
        """
        for generation in generations:
            if generation.is_over:
                _ended(generation)
            else:
                self._generations.append(generation)

    def drain(self, seconds: float, now: float) -> None:
        """Have all of them end within ``seconds``."""
        for generation in self:
            generation.kept_until = -math.inf
            generation.fleet.drain(seconds, now)

    def tell_controls(self, message: Message) -> None:
        """Send something to every control that is left."""
        for generation in self:
            if generation.control and generation.control.link.is_open:
                generation.control.tell(message)

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [child for generation in self for child in generation]

    @property
    def next_deadline(self) -> float:
        """When ``tick`` has something to do."""
        return min((generation.next_deadline for generation in self), default=math.inf)

    def tick(self, now: float, stop_seconds: float) -> None:
        """Let each look after its own."""
        for generation in self:
            generation.tick(now, stop_seconds)

    def exited(self, pid: int, status: int, now: float) -> bool:
        """Note that a process was reaped; False when it was none of theirs."""
        for generation in self:
            if generation.exited(pid, status, now):
                if generation.is_over:
                    self._generations.remove(generation)
                    _ended(generation)
                return True
        return False

    def introduce(self, control: Control, number: int) -> None:
        """Connect each past control to the current one, and tell that one which generations there are."""
        for generation in self:
            if generation.control and generation.control.link.is_open:
                ours, theirs = socket.socketpair()
                with ours, theirs:
                    generation.control.tell(Retire(), (theirs.fileno(),))
                    control.tell(Predecessor(generation.number), (ours.fileno(),))
        self.tell(control, number)

    def tell(self, control: Control | None, number: int) -> None:
        """Tell the current control which generation it is, and what is left of others."""
        if control and control.is_bound:
            control.tell(Generations(number, [(generation.number, len(generation.fleet)) for generation in self]))


def past_of(
    number: int, control: Control | None, workers: Sequence[Worker], counts: SharedCounts | None = None
) -> Past:
    """Make a generation of its processes; without ``counts`` its workers share none with those to come."""
    fleet = Fleet(_never, _never, counts)
    for worker in workers:
        fleet.adopt(worker)
    return Past(number, control, fleet)


def _ended(generation: Past) -> None:
    generation.fleet.counts.close()
    say(f"generation {generation.number} has drained")


def _never(*_: object) -> NoReturn:
    raise AssertionError("a past generation gets no new worker")
