"""The root process: one loop over signals, links and deadlines; no trio, no thread, no secret.

It runs until it is told to stop: RUNNING keeps control and workers alive; DRAINING waits for workers to finish;
ENDING waits for control, which outlives them to take their last statistics. Every wait for a child has a deadline
after which SIGKILL comes, and children that see their link end exit by themselves, so nothing outlives this process.

An upgrade in place tries the next generation first: a supervisor of its own (``candidate``) with control and workers.
Once that is ready this process becomes the same program by exec, takes the new generation over, and lets the old one
drain (``past``). docs/architecture.md says why.
"""

import enum
import functools
import gc
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from proxyd.core.messages import (
    Adopt,
    Bind,
    BindAdmin,
    Bound,
    Drain,
    Failed,
    Message,
    Notify,
    Promote,
    Promoted,
    Pulse,
    Reload,
    Reloaded,
    Reopen,
    Shutdown,
    Upgrade,
    Upgraded,
    WorkerExited,
    WorkerStarted,
)
from proxyd.net.framing import LinkClosed
from proxyd.net.process import harden, raise_nofile, seal_descriptors, set_name
from proxyd.supervisor import state, succession
from proxyd.supervisor.activation import take_inherited
from proxyd.supervisor.candidate import Candidate
from proxyd.supervisor.children import Backoff, Child, Control, Worker, describe_exit, execute_control, fork_worker
from proxyd.supervisor.fleet import Fleet
from proxyd.supervisor.listeners import BindError, Listeners
from proxyd.supervisor.notice import say
from proxyd.supervisor.options import TAKEOVER, Options
from proxyd.supervisor.parent import Parent
from proxyd.supervisor.past import Pasts
from proxyd.supervisor.signals import Signals
from proxyd.supervisor.state import Legacy
from proxyd.supervisor.succession import SuccessionError
from proxyd.supervisor.successor import read_legacy, take_over
from proxyd.supervisor.systemd import Systemd
from proxyd.supervisor.upgrades import Upgrades
from proxyd.wire import ipc

MAX_WORKERS: Final = 1024
ECHO_SECONDS: Final = 0.5
"""``timeout`` and others send a signal to the process and to its group; a person who insists takes longer."""
DEFAULT_DRAIN: Final = 30.0
MAX_DRAIN: Final = 24 * 3600.0

ADMIN_HTTP: Final = "admin.http"
"""Name of the admin side's listening socket."""

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
    role, fd = succession.take_role(os.environ)
    inherited = take_inherited(os.environ, are_ours=not role)
    harden()
    raise_nofile()
    seal_descriptors()
    set_name("proxyd")
    try:
        supervisor = Supervisor(options, Listeners(inherited), Parent.meet(fd) if role == "candidate" else None)
    except SuccessionError as error:
        say(f"not started as the next generation: {error}")
        return 1
    try:
        if role == "successor":
            supervisor.succeed(read_legacy(fd))
        return supervisor.run()
    finally:
        supervisor.close()


class Supervisor:
    """The state of the root process and its one loop."""

    def __init__(self, options: Options, listeners: Listeners, parent: Parent | None = None) -> None:
        self.options = options
        self._listeners = parent.listeners if parent else listeners
        self._admin = parent.admin if parent else Listeners()
        self._parent = parent
        """While we are on trial."""
        self.generation = parent.number if parent else 1
        self._past = Pasts()
        self._upgrades = Upgrades(self)
        self._size = 0
        """Workers that the configuration wants; 0: it has not said."""
        self._signals = Signals()
        self._systemd = Systemd(os.environ)
        self._fleet = Fleet(self._fork, self._hand_over)
        self._control: Control | None = None
        self._control_due = math.inf
        self._control_backoff = Backoff()
        self._pulsed = -math.inf
        self._was_bound = False
        self.drain_timeout = DEFAULT_DRAIN
        self._echo = (0, 0.0)
        """The signal that ordered the stop, and the monotonic time before which the same one is its echo."""
        self._phase = Phase.RUNNING
        self._exit_code: int | None = None

    def run(self) -> int:
        """Start control, unless there is one, then everything that it asks for; return the exit code."""
        if self._control is None:
            self._start_control()
        if self._exit_code is None:
            self.options.preload()
            gc.collect()
            gc.freeze()  # workers share these pages for as long as no collection writes to them
        if self._size:  # taken over; some may have died meanwhile
            self._reap()
            self._fleet.resize(self._size, self.drain_timeout, time.monotonic())
        while self._exit_code is None:
            self._turn()
        return self._exit_code

    def close(self) -> None:
        """Let go of everything; children still alive see their links end."""
        self._listeners.close()
        self._admin.close()
        for child in self._children():
            child.link.close()
        if self._parent:
            self._parent.link.close()
        self._signals.close()

    # --- the loop ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        wait = min(max(self._next_deadline() - now, 0.0), _LONGEST_WAIT)
        ready = self._select(wait)
        if time.monotonic() > now + wait + _FROZEN:
            self._forgive_silence()
        for serve, events in ready:
            serve(events)
        for number in self._signals.take():
            self.on_signal(number)
        self._reap()
        self._tick(time.monotonic())

    def _select(self, wait: float) -> list[tuple[Callable[[int], None], int]]:
        """Wait; return what serves each link with something to read or room to write, and which of the two.

        The selector is made anew each time: few descriptors, and none that is stale.
        """
        with selectors.PollSelector() as selector:
            selector.register(self._signals, _READABLE)
            for child in self._children():
                if child.link.is_open:
                    selector.register(child.link, child.link.interest, functools.partial(self._serve, child))
            if self._parent and self._parent.link.is_open:
                selector.register(self._parent.link, self._parent.link.interest, self._serve_parent)
            if (errors := self._upgrades.errors) >= 0:
                selector.register(errors, _READABLE, lambda _: self._upgrades.overhear())
            return [(key.data, events) for key, events in selector.select(wait) if key.data is not None]

    def _serve(self, child: Child, events: int) -> None:
        if child.link.is_open and events & _WRITABLE:
            self._flush(child)
        if child.link.is_open and events & _READABLE:
            self._read(child)

    def _children(self) -> list[Child]:
        single = [child for child in (self._control, self._upgrades.candidate) if child]
        return [*single, *self._fleet, *self._past.children]

    def _controls(self) -> list[Control]:
        return [child for child in self._children() if isinstance(child, Control)]

    def _next_deadline(self) -> float:
        deadlines = [self._fleet.next_deadline, self._past.next_deadline, self._upgrades.next_deadline]
        if self._control:
            deadlines.append(self._control.next_deadline)
        return min(*deadlines, self._control_due, self._systemd.next_pet)

    def _forgive_silence(self) -> None:
        """We were stopped ourselves (SIGSTOP, frozen cgroup): control had no chance to be heard."""
        for control in self._controls():
            if math.isfinite(control.silent_at):
                control.silent_at = max(control.silent_at, time.monotonic() + self.options.control_silence)

    def _tick(self, now: float) -> None:
        self._fleet.tick(now)
        self._past.tick(now, self.options.control_stop)
        if self._control is None and self._control_due <= now:
            self._start_control()
        if self._control:
            self._control.check(now)
        self._upgrades.tick(now)
        if self._phase is Phase.DRAINING and not (self._fleet or self._past or self._upgrades.candidate):
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
                if isinstance(child, Candidate):
                    self._upgrades.on_note(child, succession.read(payload))
                elif isinstance(child, Control):
                    child.silent_at = now + self.options.control_silence
                    self._on_message(child, payload)
                else:
                    raise ValueError("workers have nothing to say here")
            if child.link.violation:
                raise ValueError(child.link.violation)
        except (ValueError, LinkClosed) as error:
            child.abort(f"it broke a rule of its link: {error}")
            child.link.close()

    def _on_message(self, control: Control, payload: bytes) -> None:
        message = ipc.decode(payload, ipc.CONTROL_TO_SUPERVISOR)
        if control is not self._control:
            self._on_word_of_the_past(control, message)
            return
        match message:
            case Bind() as bind:
                self._on_bind(control, bind)
            case BindAdmin() as bind_admin:
                self._on_bind_admin(control, bind_admin)
            case Notify(text):
                self._systemd.relay(text)
                if self._parent and "READY=1" in text.splitlines():
                    self._parent.ready()
            case Pulse():
                self._pulsed = time.monotonic()
            case Shutdown(seconds):
                self._drain(seconds)
            case Upgrade() as upgrade:
                self._upgrades.begin(upgrade, "this generation is still on trial" if self._parent else "")
            case Failed(why):
                if self._parent:
                    self._parent.failed(why)
            case Promoted():
                self._upgrades.answer()
            case Reloaded():
                for former in self._past.controls:
                    former.tell(Reload())
            case other:
                raise AssertionError(type(other).__name__)

    def _on_word_of_the_past(self, control: Control, message: Message) -> None:
        """A control that was succeeded changes nothing any more, but it may still end everything."""
        why = f"generation {self.generation} has taken over; call again"
        match message:
            case Bind(id=number) | BindAdmin(id=number):
                control.tell(Bound(number, [], why))
            case Upgrade(id=number):
                control.tell(Upgraded(number, self.generation, why))
            case Shutdown(seconds):
                self._drain(seconds)

    def _on_bind(self, control: Control, bind: Bind) -> None:
        try:
            self._refuse_impossible(bind)
            listening = self._listeners.change(bind.listeners)
        except BindError as error:
            control.tell(Bound(bind.id, [], str(error)))
            return
        names = [(one.name, one.actual) for one in listening]
        control.tell(Bound(bind.id, names), tuple(one.sock.fileno() for one in listening))
        self.drain_timeout = _seconds(bind.drain_timeout)
        self._was_bound = True
        self._size = bind.workers
        if not control.is_bound:
            control.is_bound = True
            for worker in self._fleet.serving:
                self._adopt(worker)
            self._past.introduce(control, self.generation)
        self._fleet.resize(bind.workers, self.drain_timeout, time.monotonic())

    def _on_bind_admin(self, control: Control, request: BindAdmin) -> None:
        try:
            listening = self._admin.change([(ADMIN_HTTP, request.address)])
        except BindError as error:
            control.tell(Bound(request.id, [], str(error)))
            return
        names = [(one.name, one.actual) for one in listening]
        control.tell(Bound(request.id, names), tuple(one.sock.fileno() for one in listening))

    def _refuse_impossible(self, bind: Bind) -> None:
        if self._phase is not Phase.RUNNING:
            raise BindError("proxyd is shutting down")
        if self._upgrades.is_under_way:
            raise BindError("an upgrade is under way; try again when it is over")
        if not 1 <= bind.workers <= MAX_WORKERS:
            raise BindError(f"workers: {bind.workers} is not within 1 and {MAX_WORKERS}")

    # --- workers ----------------------------------------------------------------------------------

    def _fork(self, index: int) -> tuple[Worker, socket.socket]:
        return fork_worker(index, self.options.worker_main, self._fleet.counts, self._abandon)

    def _abandon(self) -> None:
        """Close a forked child's copies of what is ours."""
        self._listeners.abandon()
        self._admin.abandon()
        for child in self._children():
            child.link.close()
        if self._parent:
            self._parent.link.close()
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
            self._control = execute_control(self.options, {TAKEOVER: self._takeover})
        except OSError as error:
            say(f"control cannot be started: {error.strerror}")
            self._control_gone(1, 0.0)

    @property
    def _takeover(self) -> str:
        """How a control comes by an admin socket that the former generation's control may still serve."""
        if self._parent:
            return "later"
        return "now" if self.generation > 1 else ""

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
            self._control.end(now, self.options.control_stop)

    # --- signals and deaths -----------------------------------------------------------------------

    def on_signal(self, number: int) -> None:
        """Act on a signal."""
        if number == signal.SIGHUP:
            if self._control:
                self._control.tell(Reload())
        elif number == signal.SIGUSR1:
            for control in (*([self._control] if self._control else []), *self._past.controls):
                control.tell(Reopen())
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._phase is Phase.RUNNING:
                self._echo = (number, time.monotonic() + ECHO_SECONDS)
                self._drain(self.drain_timeout)
            elif number != self._echo[0] or time.monotonic() >= self._echo[1]:
                self._hurry()

    def _drain(self, seconds: float) -> None:
        if self._phase is not Phase.RUNNING:
            return
        seconds = _seconds(seconds)
        say(f"draining {sum(isinstance(child, Worker) for child in self._children())} workers, {seconds:g} s at most")
        self._phase = Phase.DRAINING
        self._control_due = math.inf
        self._systemd.notify("STOPPING=1")
        self._upgrades.answer()
        self._upgrades.fail("proxyd is shutting down")
        self._listeners.close()
        for control in self._controls():
            if control.is_bound:
                control.tell(Drain(seconds))
        self._fleet.drain(seconds, time.monotonic())
        self._past.drain(seconds, time.monotonic())

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
            self._upgrades.fail("control has ended meanwhile")
            self._control_gone(code, now - control.started)
            return
        if self._upgrades.exited(pid, words):
            return
        if self._past.exited(pid, status, now):
            self._past.tell(self._control, self.generation)
            return
        worker = self._fleet.exited(pid, status, now)
        if worker and self._control and self._control.is_bound:
            self._control.tell(WorkerExited(worker.index, pid, words))

    # --- upgrades (upgrades.Serving) --------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether nobody has told us to end."""
        return self._phase is Phase.RUNNING

    @property
    def sockets(self) -> state.SocketsState:
        """All listening sockets."""
        return state.sockets_state(self._listeners, self._admin)

    def tell_control(self, message: Message) -> None:
        """Send something to the control that serves, if there is one."""
        if self._control:
            self._control.tell(message)

    def take_signals(self) -> list[int]:
        """Return the signals that came and were not acted on; SIGCHLD is none, children are looked after anyway."""
        return [number for number in self._signals.take() if number != signal.SIGCHLD]

    def legacy(self, one: Candidate, request: Upgrade) -> Legacy:
        """Describe all that goes through the exec."""
        return Legacy(
            state.FORMAT,
            state.generation_state(self.generation, self._control, self._fleet, self._size),
            [state.generation_state(past.number, past.control, past.fleet) for past in self._past],
            self.sockets,
            self.drain_timeout,
            state.child_state(one),
            request.id,
            request.drain,
        )

    def succeed(self, legacy: Legacy) -> None:
        """Take over what our former self has left, and the generation that it has tried, if that is still there."""
        now = time.monotonic()
        heir = take_over(legacy, now + self.options.control_silence)
        self._pulsed, self._was_bound = now, True
        self._size, self.drain_timeout = heir.size, heir.drain_timeout
        self._listeners, self._admin = heir.listeners, heir.admin
        self.generation, self._control = heir.current.number, heir.current.control
        if self._control is None:
            self._control_due = now
        self._fleet.counts = heir.current.fleet.counts
        for worker in heir.current.fleet:
            self._fleet.adopt(worker)
        self._past.adopt(heir.past)
        former = heir.former
        if former is None:
            self._upgrades.answer_failure(legacy.upgrade, heir.problem)
            return
        former.fleet.drain(legacy.upgrade_drain, now, gentle=True)
        say(f"upgraded: generation {self.generation} serves, generation {former.number} drains")
        self._systemd.notify(f"STATUS=generation {self.generation} serves, generation {former.number} drains")
        self._upgrades.answer_later(former, Upgraded(legacy.upgrade, self.generation), now)
        if self._control:
            self._control.tell(Promote())
            self._past.introduce(self._control, self.generation)

    # --- on trial ---------------------------------------------------------------------------------

    def _serve_parent(self, events: int) -> None:
        """Hear the supervisor that tries us; its end is ours."""
        parent = self._parent
        if parent is None or not parent.link.is_open:
            return
        try:
            if parent.serve(events) and self._phase is Phase.RUNNING:
                sockets = (self._listeners, self._admin)
                parent.give_up(self._control, self._fleet, self._size, sockets, self.drain_timeout)
                os._exit(0)  # all is in other hands, nothing is to be tidied up
        except (LinkClosed, ValueError, SuccessionError) as error:
            say(f"generation {self.generation} ends before it has begun: {error}")
            parent.link.close()
            self._drain(0.0)


def _seconds(value: float) -> float:
    """Bound a drain's deadline; what is not a number becomes the default."""
    return min(max(value, 0.0), MAX_DRAIN) if math.isfinite(value) else DEFAULT_DRAIN
