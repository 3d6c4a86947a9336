"""The workers: as many as wanted, replaced when they die, drained when they are too many or when all ends."""

import math
import socket
from collections.abc import Callable, Iterator
from typing import Final

from proxyd.core.counts import SharedCounts
from proxyd.core.messages import Drain
from proxyd.supervisor.children import Backoff, Worker, describe_exit
from proxyd.supervisor.notice import say

DRAIN_GRACE: Final = 1.0
"""Seconds after a drain's deadline at which a worker gets SIGKILL: it has to end by itself before."""


class Fleet:
    """Keeps ``size`` workers. Times are monotonic seconds, handed in.

    ``fork`` makes a worker and control's end of its link; ``started`` gets both and owns the socket.
    """

    def __init__(
        self,
        fork: Callable[[int], tuple[Worker, socket.socket]],
        started: Callable[[Worker, socket.socket], None],
        counts: SharedCounts | None = None,
    ) -> None:
        self._fork = fork
        self._started = started
        self.counts = counts or SharedCounts()
        """What the workers share: a row each, zeroed when its worker dies."""
        self._workers: dict[int, Worker] = {}
        self._due: dict[int, float] = {}
        self._backoff: dict[int, Backoff] = {}

    def __iter__(self) -> Iterator[Worker]:
        """Iterate over all live workers, retiring ones included; the fleet may change meanwhile."""
        return iter(list(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def serving(self) -> list[Worker]:
        """Workers that are not retiring, by index."""
        return sorted((worker for worker in self if not worker.is_retiring), key=lambda worker: worker.index)

    @property
    def next_deadline(self) -> float:
        """When ``tick`` has something to do; infinity: when something happens."""
        return min((*self._due.values(), *(worker.kill_at for worker in self)), default=math.inf)

    def resize(self, size: int, drain_seconds: float, now: float) -> None:
        """Start workers or drain the surplus, vacancies and the highest indexes first."""
        occupied = len(self.serving) + len(self._due)
        for index in sorted(self._due, reverse=True)[: max(0, occupied - size)]:
            del self._due[index]
        for worker in self.serving[max(0, size - len(self._due)) :]:
            self._retire(worker, drain_seconds, now)
        for _ in range(size - occupied):
            self._start(self._free_index(), now)

    def exited(self, pid: int, status: int, now: float) -> Worker | None:
        """Note that a process was reaped; return the worker if it was one. Its successor starts with ``tick``."""
        worker = self._workers.pop(pid, None)
        if worker is None:
            return None
        worker.link.close()
        self.counts.clear(worker.index)
        if worker.is_retiring:
            return worker
        delay = self._backoff.setdefault(worker.index, Backoff()).delay(now - worker.started)
        self._due[worker.index] = now + delay
        later = f", started again in {delay:.1f} s" if delay else ", replaced"
        say(f"{worker.title} (pid {pid}) is gone: {describe_exit(status)[1]}{later}")
        return worker

    def tick(self, now: float) -> None:
        """Start the workers that are due and kill those that are late."""
        for index in [index for index, when in self._due.items() if when <= now]:
            del self._due[index]
            self._start(index, now)
        for worker in self:
            if worker.kill_at <= now:
                worker.kill_at = math.inf
                worker.abort("it did not end in time")

    def drain(self, seconds: float, now: float, *, gentle: bool = False) -> None:
        """Have every worker finish within ``seconds``; none is replaced from here on."""
        self._due.clear()
        for worker in self:
            self._retire(worker, seconds, now, gentle=gentle)

    def adopt(self, worker: Worker) -> None:
        """Take in a worker that another fleet forked."""
        self._workers[worker.pid] = worker

    def kill(self) -> None:
        """Kill every worker at once."""
        for worker in self:
            worker.kill()

    def _free_index(self) -> int:
        taken = {worker.index for worker in self} | self._due.keys()
        return next(index for index in range(len(taken) + 1) if index not in taken)

    def _start(self, index: int, now: float) -> None:
        self.counts.assign(index)
        try:
            worker, control_end = self._fork(index)
        except OSError as error:
            delay = self._backoff.setdefault(index, Backoff()).delay(0.0) or 0.1
            self._due[index] = now + delay
            say(f"worker {index} cannot be started, tried again in {delay:.1f} s: {error.strerror}")
            return
        self._workers[worker.pid] = worker
        self._started(worker, control_end)

    @staticmethod
    def _retire(worker: Worker, seconds: float, now: float, *, gentle: bool = False) -> None:
        worker.is_retiring = True
        worker.kill_at = min(worker.kill_at, now + seconds + DRAIN_GRACE)
        worker.tell(Drain(seconds, gentle))
