"""A generation that another one has succeeded: its workers drain, its control looks after them, nobody is replaced."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from proxyd.supervisor.children import Child, Control, Worker
from proxyd.supervisor.fleet import Fleet


@dataclass(slots=True, eq=False)
class Past:
    """One such generation. Its control serves leaves and takes statistics until the last worker is gone."""

    number: int
    control: Control | None
    fleet: Fleet
    is_ending: bool = False
    """Its control was told to end."""

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
        return min(self.fleet.next_deadline, self.control.next_deadline if self.control else math.inf)

    def tick(self, now: float, stop_seconds: float) -> None:
        """Kill who is late; end control when it has no worker left."""
        self.fleet.tick(now)
        if self.control and not self.fleet and not self.is_ending:
            self.is_ending = True
            self.control.end(now, stop_seconds)
        if self.control:
            self.control.check(now)


def retired(number: int, control: Control | None, workers: list[Worker]) -> Past:
    """Make a past generation of its processes."""
    fleet = Fleet(_never, _never)
    for worker in workers:
        fleet.adopt(worker)
    if control:
        control.title = f"control of generation {number}"
    for worker in workers:
        worker.title = f"worker {worker.index} of generation {number}"
    return Past(number, control, fleet)


def _never(*_: object) -> NoReturn:
    raise AssertionError("a past generation gets no new worker")
