"""The generation that serves: its control, kept alive, and its workers."""

import math
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

from proxyd.core.messages import Adopt, Message, WorkerExited, WorkerStarted
from proxyd.supervisor.children import Backoff, Child, Control, Worker, execute_control, fork_worker
from proxyd.supervisor.fleet import Fleet
from proxyd.supervisor.notice import say
from proxyd.supervisor.options import TAKEOVER, Options
from proxyd.supervisor.past import Past
from proxyd.supervisor.state import GenerationState, generation_state

DEFAULT_DRAIN: Final = 30.0

_PULSE_FRESH: Final = 30.0


class Current:
    """``abandon`` closes, in a forked child, everything that is the supervisor's."""

    def __init__(self, options: Options, number: int, abandon: Callable[[], None]) -> None:
        self.number = number
        self.control: Control | None = None
        self.fleet = Fleet(self._fork, self._hand_over)
        self.size = 0
        """Workers that the configuration wants; 0: it has not said."""
        self.drain_timeout = DEFAULT_DRAIN
        self.was_bound = False
        """Some control of it has had a successful Bind: from then on it is kept alive."""
        self.pulsed = -math.inf
        """Monotonic seconds when control was heard last."""
        self._options = options
        self._abandon = abandon
        self._due = math.inf
        self._backoff = Backoff()

    def __iter__(self) -> Iterator[Child]:
        """Iterate over its processes."""
        if self.control:
            yield self.control
        yield from self.fleet

    @property
    def next_deadline(self) -> float:
        """When ``tick`` has something to do."""
        return min(self._due, self.fleet.next_deadline, self.control.next_deadline if self.control else math.inf)

    @property
    def state(self) -> GenerationState:
        """What another supervisor needs to go on with it."""
        return generation_state(self.number, self.control, self.fleet, self.size)

    def is_healthy(self, now: float) -> bool:
        """Whether control is heard and somebody serves."""
        return now - self.pulsed < _PULSE_FRESH and bool(self.fleet.serving)

    def tick(self, now: float, takeover: str) -> int | None:
        """Start who is due and kill who is late; return the exit code when control cannot be started at all."""
        self.fleet.tick(now)
        if self.control is None and self._due <= now:
            return self.start_control(takeover)
        if self.control:
            self.control.check(now)
        return None

    def tell(self, message: Message) -> None:
        """Send something to control, if there is one."""
        if self.control:
            self.control.tell(message)

    # --- control ----------------------------------------------------------------------------------

    def start_control(self, takeover: str) -> int | None:
        """Execute control; return the exit code when the first one cannot be. ``takeover`` is TAKEOVER's value."""
        self._due = math.inf
        try:
            self.control = execute_control(self._options, {TAKEOVER: takeover})
        except OSError as error:
            say(f"control cannot be started: {error.strerror}")
            return self._control_gone(1, 0.0)
        return None

    def stop_starting(self) -> None:
        """Replace control no more."""
        self._due = math.inf

    def control_exited(self, code: int, now: float) -> int | None:
        """Note that control was reaped; return the exit code when there is no use in another one."""
        control, self.control = self.control, None
        if control is None:
            return None
        control.link.close()
        return self._control_gone(code, now - control.started)

    def _control_gone(self, code: int, lived: float) -> int | None:
        if not self.was_bound:  # it has said itself what is wrong; trying again would only say it again
            return code or 1
        self._due = time.monotonic() + self._backoff.delay(lived)
        return None

    # --- workers ----------------------------------------------------------------------------------

    def bound(self, control: Control, workers: int, drain_timeout: float) -> bool:
        """Note that control's Bind succeeded; True for its first, when it is handed the workers that live."""
        self.drain_timeout, self.size, self.was_bound = drain_timeout, workers, True
        is_first = not control.is_bound
        if is_first:
            control.is_bound = True
            for worker in self.fleet.serving:
                self._adopt(worker)
        return is_first

    def resize(self) -> None:
        """Have as many workers as the configuration wants."""
        self.fleet.resize(self.size, self.drain_timeout, time.monotonic())

    def worker_exited(self, pid: int, status: int, words: str, now: float) -> None:
        """Note that a process was reaped which may be a worker."""
        worker = self.fleet.exited(pid, status, now)
        if worker and self.control and self.control.is_bound:
            self.control.tell(WorkerExited(worker.index, pid, words))

    def inherit(self, generation: Past, size: int, drain_timeout: float, now: float) -> None:
        """Be this generation, which another supervisor has started."""
        self.number, self.control = generation.number, generation.control
        self.size, self.drain_timeout = size, drain_timeout
        self.pulsed, self.was_bound = now, True
        if self.control is None:
            self._due = now
        self.fleet.counts.close()
        self.fleet.counts = generation.fleet.counts
        for worker in generation.fleet:
            self.fleet.adopt(worker)

    def _fork(self, index: int) -> tuple[Worker, socket.socket]:
        return fork_worker(index, self._options.worker_main, self.fleet.counts, self._abandon)

    def _hand_over(self, worker: Worker, control_end: socket.socket) -> None:
        """Give control its end of a worker's link; without a control the worker waits for Adopt."""
        with control_end:
            if self.control and self.control.is_bound:
                self.control.tell(WorkerStarted(worker.index, worker.pid), (control_end.fileno(),))

    def _adopt(self, worker: Worker) -> None:
        """Connect a worker that outlived its control to the new one."""
        try:
            workers, controls = socket.socketpair()
        except OSError as error:
            worker.abort(f"no link to control can be made ({error.strerror})")
            return
        with workers:
            worker.tell(Adopt(), (workers.fileno(),))
        self._hand_over(worker, controls)
