"""The root process: one loop over signals, links and deadlines; no trio, no thread, no secret.

It runs until it is told to stop: RUNNING keeps control and workers alive; DRAINING waits for workers to finish;
ENDING waits for control, which outlives them to take their last statistics. Every wait for a child has a deadline
after which SIGKILL comes, and children that see their link end exit by themselves, so nothing outlives this process.
"""

import enum
import gc
import math
import os
import selectors
import signal
import socket
import time
from typing import Final

from proxyd.core.messages import (
    Adopt,
    Bind,
    Bound,
    Drain,
    Notify,
    Pulse,
    Reload,
    Shutdown,
    WorkerExited,
    WorkerStarted,
)
from proxyd.net.framing import LinkClosed
from proxyd.net.process import harden, raise_nofile, seal_descriptors, set_name
from proxyd.supervisor.activation import take_inherited
from proxyd.supervisor.children import Backoff, Child, Control, Worker, describe_exit, execute_control, fork_worker
from proxyd.supervisor.fleet import Fleet
from proxyd.supervisor.listeners import BindError, Listeners
from proxyd.supervisor.notice import say
from proxyd.supervisor.options import Options
from proxyd.supervisor.signals import Signals
from proxyd.supervisor.systemd import Systemd
from proxyd.wire import ipc

MAX_WORKERS: Final = 1024
DEFAULT_DRAIN: Final = 30.0
MAX_DRAIN: Final = 24 * 3600.0

_LONGEST_WAIT: Final = 60.0
_FROZEN: Final = 2.0
_PULSE_FRESH: Final = 30.0
_READABLE: Final = selectors.EVENT_READ
_WRITABLE: Final = selectors.EVENT_WRITE


class Phase(enum.Enum):
    """Where the supervisor stands."""

    RUNNING = "running"
    DRAINING = "draining"
    ENDING = "ending"


def run(options: Options) -> int:
    """Be the supervisor until everything has ended; return the exit code. Call it in the main thread."""
    inherited = take_inherited(os.environ)
    harden()
    raise_nofile()
    seal_descriptors()
    set_name("proxyd")
    supervisor = Supervisor(options, Listeners(inherited))
    try:
        return supervisor.run()
    finally:
        supervisor.close()


class Supervisor:
    """The state of the root process and its one loop."""

    def __init__(self, options: Options, listeners: Listeners) -> None:
        self._options = options
        self._listeners = listeners
        self._signals = Signals()
        self._systemd = Systemd(os.environ)
        self._fleet = Fleet(self._fork, self._hand_over)
        self._control: Control | None = None
        self._control_due = math.inf
        self._control_backoff = Backoff()
        self._pulsed = -math.inf
        self._was_bound = False
        self._drain_timeout = DEFAULT_DRAIN
        self._phase = Phase.RUNNING
        self._exit_code: int | None = None

    def run(self) -> int:
        """Start control, then everything that it asks for; return the exit code."""
        self._start_control()
        if self._exit_code is None:
            self._options.preload()
            gc.collect()
            gc.freeze()  # workers share these pages for as long as no collection writes to them
        while self._exit_code is None:
            self._turn()
        return self._exit_code

    def close(self) -> None:
        """Let go of everything; children still alive see their links end."""
        self._listeners.close()
        for child in self._children():
            child.link.close()
        self._signals.close()

    # --- the loop ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        wait = min(max(self._next_deadline() - now, 0.0), _LONGEST_WAIT)
        ready = self._select(wait)
        if time.monotonic() > now + wait + _FROZEN:
            self._forgive_silence()
        for child, events in ready:
            if child.link.is_open and events & _WRITABLE:
                self._flush(child)
            if child.link.is_open and events & _READABLE:
                self._read(child)
        for number in self._signals.take():
            self._on_signal(number)
        self._reap()
        self._tick(time.monotonic())

    def _select(self, wait: float) -> list[tuple[Child, int]]:
        """Wait; return the children with something to read or room to write.

        The selector is made anew each time: few descriptors, and none that is stale.
        """
        with selectors.PollSelector() as selector:
            selector.register(self._signals, _READABLE)
            for child in self._children():
                if child.link.is_open:
                    selector.register(child.link, child.link.interest, child)
            return [(key.data, events) for key, events in selector.select(wait) if key.data is not None]

    def _children(self) -> list[Child]:
        return [*([self._control] if self._control else []), *self._fleet]

    def _next_deadline(self) -> float:
        deadlines = [self._fleet.next_deadline, self._control_due, self._systemd.next_pet]
        if self._control:
            deadlines += [self._control.kill_at, self._control.silent_at]
        return min(deadlines)

    def _forgive_silence(self) -> None:
        """We were stopped ourselves (SIGSTOP, frozen cgroup): control had no chance to be heard."""
        if self._control:
            self._control.silent_at = max(self._control.silent_at, time.monotonic() + self._options.control_silence)

    def _tick(self, now: float) -> None:
        self._fleet.tick(now)
        if self._control is None and self._control_due <= now:
            self._start_control()
        if self._control and self._control.kill_at <= now:
            self._control.kill_at = self._control.silent_at = math.inf
            self._control.abort("it did not end in time")
        if self._control and self._control.silent_at <= now:
            self._control.silent_at = math.inf
            self._control.abort("it was silent for too long")
        if self._phase is Phase.DRAINING and not self._fleet:
            self._end_control(now)
        if self._phase is Phase.ENDING and self._control is None and self._exit_code is None:
            self._exit_code = 0
        self._systemd.pet(now, is_healthy=self._is_healthy(now))

    def _is_healthy(self, now: float) -> bool:
        if self._phase is not Phase.RUNNING:
            return True
        return now - self._pulsed < _PULSE_FRESH and bool(self._fleet.serving)

    # --- links ------------------------------------------------------------------------------------

    @staticmethod
    def _flush(child: Child) -> None:
        try:
            child.link.flush()
        except LinkClosed:
            child.end_link(time.monotonic())

    def _read(self, child: Child) -> None:
        now = time.monotonic()
        try:
            payloads = child.link.receive()
            if payloads is None:
                child.end_link(now)
                return
            for payload in payloads:
                if not isinstance(child, Control):
                    raise ValueError("workers have nothing to say here")
                child.silent_at = now + self._options.control_silence
                self._on_message(child, payload)
            if child.link.violation:
                raise ValueError(child.link.violation)
        except (ValueError, LinkClosed) as error:
            child.abort(f"it broke a rule of its link: {error}")
            child.link.close()

    def _on_message(self, control: Control, payload: bytes) -> None:
        match ipc.decode(payload, ipc.CONTROL_TO_SUPERVISOR):
            case Bind() as bind:
                self._on_bind(control, bind)
            case Notify(text):
                self._systemd.relay(text)
            case Pulse():
                self._pulsed = time.monotonic()
            case Shutdown(seconds):
                self._drain(seconds)
            case other:
                raise AssertionError(type(other).__name__)

    def _on_bind(self, control: Control, bind: Bind) -> None:
        try:
            self._refuse_impossible(bind)
            listening = self._listeners.change(bind.listeners)
        except BindError as error:
            control.tell(Bound(bind.id, [], str(error)))
            return
        names = [(one.name, one.actual) for one in listening]
        control.tell(Bound(bind.id, names), tuple(one.sock.fileno() for one in listening))
        self._drain_timeout = _seconds(bind.drain_timeout)
        self._was_bound = True
        if not control.is_bound:
            control.is_bound = True
            for worker in self._fleet.serving:
                self._adopt(worker)
        self._fleet.resize(bind.workers, self._drain_timeout, time.monotonic())

    def _refuse_impossible(self, bind: Bind) -> None:
        if self._phase is not Phase.RUNNING:
            raise BindError("proxyd is shutting down")
        if not 1 <= bind.workers <= MAX_WORKERS:
            raise BindError(f"workers: {bind.workers} is not within 1 and {MAX_WORKERS}")

    # --- workers ----------------------------------------------------------------------------------

    def _fork(self, index: int) -> tuple[Worker, socket.socket]:
        return fork_worker(index, self._options.worker_main, self._abandon)

    def _abandon(self) -> None:
        """Close a forked child's copies of what is ours."""
        self._listeners.abandon()
        for child in self._children():
            child.link.close()
        self._signals.abandon()

    def _hand_over(self, worker: Worker, control_end: socket.socket) -> None:
        """Give control its end of a worker's link; without a control the worker waits for Adopt."""
        with control_end:
            if self._control and self._control.is_bound:
                self._control.tell(WorkerStarted(worker.index, worker.pid), (control_end.fileno(),))

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

    # --- control ----------------------------------------------------------------------------------

    def _start_control(self) -> None:
        self._control_due = math.inf
        try:
            self._control = execute_control(self._options)
        except OSError as error:
            say(f"control cannot be started: {error.strerror}")
            self._control_gone(1, 0.0)

    def _control_gone(self, code: int, lived: float) -> None:
        if self._phase is not Phase.RUNNING:
            return
        if not self._was_bound:  # it has said itself what is wrong; trying again would only say it again
            self._exit_code = code or 1
            return
        self._control_due = time.monotonic() + self._control_backoff.delay(lived)

    def _end_control(self, now: float) -> None:
        self._phase = Phase.ENDING
        if self._control:
            self._control.kill(signal.SIGTERM)
            self._control.kill_at = min(self._control.kill_at, now + self._options.control_stop)
            self._control.silent_at = math.inf

    # --- signals and deaths -----------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            if self._control:
                self._control.tell(Reload())
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._phase is Phase.RUNNING:
                self._drain(self._drain_timeout)
            else:
                self._hurry()

    def _drain(self, seconds: float) -> None:
        if self._phase is not Phase.RUNNING:
            return
        seconds = _seconds(seconds)
        say(f"draining {len(self._fleet)} workers, {seconds:g} s at most")
        self._phase = Phase.DRAINING
        self._control_due = math.inf
        self._systemd.notify("STOPPING=1")
        self._listeners.close()
        if self._control and self._control.is_bound:
            self._control.tell(Drain(seconds))
        self._fleet.drain(seconds, time.monotonic())

    def _hurry(self) -> None:
        say("told to stop again: everything is killed")
        for child in self._children():
            child.kill()

    def _reap(self) -> None:
        """Reap every child that ended, orphans too: PID 1 of a container inherits them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._reaped(pid, status)

    def _reaped(self, pid: int, status: int) -> None:
        code, words = describe_exit(status)
        now = time.monotonic()
        if self._control and pid == self._control.pid:
            control, self._control = self._control, None
            control.link.close()
            if self._was_bound and self._phase is Phase.RUNNING:
                say(f"control (pid {pid}) is gone: {words}; workers go on")
            self._control_gone(code, now - control.started)
            return
        worker = self._fleet.exited(pid, status, now)
        if worker and self._control and self._control.is_bound:
            self._control.tell(WorkerExited(worker.index, pid, words))


def _seconds(value: float) -> float:
    """Bound a drain's deadline; what is not a number becomes the default."""
    return min(max(value, 0.0), MAX_DRAIN) if math.isfinite(value) else DEFAULT_DRAIN
