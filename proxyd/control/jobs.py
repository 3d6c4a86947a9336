"""Changes of the configuration in use, one at a time: a caller who gives up leaves no half of one behind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import trio

MAX_WAITING: Final = 8
"""Changes that wait for their turn."""
BUSY: Final = f"{MAX_WAITING} reloads wait already; try again later"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change."""

    ok: bool
    version: int
    """Of the snapshot in use afterwards."""
    problems: list[str] = field(default_factory=list)


Work = Callable[[], Awaitable[Outcome]]


@dataclass(slots=True)
class _Job:
    work: Work
    done: trio.Event = field(default_factory=trio.Event)
    outcome: Outcome | None = None


class Jobs:
    """A bounded queue of changes, and the task that makes them (``run``)."""

    def __init__(self) -> None:
        self._out, self._in = trio.open_memory_channel[_Job](MAX_WAITING)

    async def do(self, work: Work) -> Outcome | None:
        """Have a change made and return what became of it; None: too many wait. Cancelling does not stop it."""
        job = self.post(work)
        if job is None:
            return None
        await job.done.wait()
        return job.outcome

    def post(self, work: Work) -> _Job | None:
        """Have a change made without waiting for it; None: too many wait."""
        job = _Job(work)
        try:
            self._out.send_nowait(job)
        except trio.WouldBlock:
            return None
        return job

    async def run(self) -> None:
        """Make one change after the other, for ever."""
        async for job in self._in:
            job.outcome = await job.work()
            job.done.set()
