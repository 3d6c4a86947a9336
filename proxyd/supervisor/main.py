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
    Generations,
    Message,
    Notify,
    Predecessor,
    Promote,
    Promoted,
    Pulse,
    Reload,
    Retire,
    Shutdown,
    Upgrade,
    Upgraded,
    WorkerExited,
    WorkerStarted,
)
from proxyd.net.framing import LinkClosed
from proxyd.net.process import harden, raise_nofile, seal_descriptors, set_name
from proxyd.supervisor import candidate, state, succession, successor
from proxyd.supervisor.activation import take_inherited
from proxyd.supervisor.candidate import Candidate
from proxyd.supervisor.children import Backoff, Child, Control, Worker, describe_exit, execute_control, fork_worker
from proxyd.supervisor.fleet import Fleet
from proxyd.supervisor.listeners import BindError, Listeners
from proxyd.supervisor.notice import say
from proxyd.supervisor.options import TAKEOVER, Options
from proxyd.supervisor.parent import Parent
from proxyd.supervisor.past import Past, retired
from proxyd.supervisor.signals import Signals
from proxyd.supervisor.state import Legacy
from proxyd.supervisor.succession import Note, SuccessionError
from proxyd.supervisor.systemd import Systemd
from proxyd.wire import ipc

MAX_WORKERS: Final = 1024
DEFAULT_DRAIN: Final = 30.0
MAX_DRAIN: Final = 24 * 3600.0

PROMOTE_SECONDS: Final = 5.0
"""What a new control may take to get the admin addresses before the upgrade's caller is answered all the same."""
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
    inherited = take_inherited(os.environ)
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
            supervisor.succeed(successor.read_legacy(fd))
        return supervisor.run()
    finally:
        supervisor.close()


class Supervisor:
    """The state of the root process and its one loop."""

    def __init__(self, options: Options, listeners: Listeners, parent: Parent | None = None) -> None:
        self._options = options
        self._listeners = parent.listeners if parent else listeners
        self._admin = parent.admin if parent else Listeners()
        self._parent = parent
        """While we are on trial."""
        self._generation = parent.number if parent else 1
        self._past: list[Past] = []
        self._candidate: Candidate | None = None
        self._answer: tuple[Control, Upgraded] | None = None
        """Who waits for the new control to have the admin addresses, and for what."""
        self._answer_at = math.inf
        self._size = 0
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
        """Start control, unless there is one, then everything that it asks for; return the exit code."""
        if self._control is None:
            self._start_control()
        if self._exit_code is None:
            self._options.preload()
            gc.collect()
            gc.freeze()  # workers share these pages for as long as no collection writes to them
        if self._size:  # taken over; some may have died meanwhile
            self._reap()
            self._fleet.resize(self._size, self._drain_timeout, time.monotonic())
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
            self._on_signal(number)
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
            if self._candidate and self._candidate.errors >= 0:
                selector.register(self._candidate.errors, _READABLE, lambda _: self._overhear())
            return [(key.data, events) for key, events in selector.select(wait) if key.data is not None]

    def _serve(self, child: Child, events: int) -> None:
        if child.link.is_open and events & _WRITABLE:
            self._flush(child)
        if child.link.is_open and events & _READABLE:
            self._read(child)

    def _children(self) -> list[Child]:
        past = [child for generation in self._past for child in generation]
        return [*(child for child in (self._control, self._candidate) if child), *self._fleet, *past]

    def _controls(self) -> list[Control]:
        return [child for child in self._children() if isinstance(child, Control)]

    def _next_deadline(self) -> float:
        deadlines = [self._fleet.next_deadline, self._control_due, self._systemd.next_pet, self._answer_at]
        deadlines += [generation.next_deadline for generation in self._past]
        if self._control:
            deadlines.append(self._control.next_deadline)
        if self._candidate:
            deadlines += [self._candidate.kill_at, self._candidate.deadline]
        return min(deadlines)

    def _forgive_silence(self) -> None:
        """We were stopped ourselves (SIGSTOP, frozen cgroup): control had no chance to be heard."""
        for control in self._controls():
            if math.isfinite(control.silent_at):
                control.silent_at = max(control.silent_at, time.monotonic() + self._options.control_silence)

    def _tick(self, now: float) -> None:
        self._fleet.tick(now)
        for generation in self._past:
            generation.tick(now, self._options.control_stop)
        if self._control is None and self._control_due <= now:
            self._start_control()
        if self._control:
            self._control.check(now)
        self._tick_upgrade(now)
        if self._phase is Phase.DRAINING and not (self._fleet or self._past or self._candidate):
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
                    self._on_note(child, succession.read(payload))
                elif isinstance(child, Control):
                    child.silent_at = now + self._options.control_silence
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
                self._on_upgrade(control, upgrade)
            case Failed(why):
                if self._parent:
                    self._parent.failed(why)
            case Promoted():
                self._answer_now()
            case other:
                raise AssertionError(type(other).__name__)

    def _on_word_of_the_past(self, control: Control, message: Message) -> None:
        """A control that was succeeded changes nothing any more, but it may still end everything."""
        why = f"generation {self._generation} has taken over; call again"
        match message:
            case Bind(id=number) | BindAdmin(id=number):
                control.tell(Bound(number, [], why))
            case Upgrade(id=number):
                control.tell(Upgraded(number, self._generation, why))
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
        self._drain_timeout = _seconds(bind.drain_timeout)
        self._was_bound = True
        self._size = bind.workers
        if not control.is_bound:
            control.is_bound = True
            for worker in self._fleet.serving:
                self._adopt(worker)
            self._introduce()
        self._fleet.resize(bind.workers, self._drain_timeout, time.monotonic())

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
        if self._candidate and not self._candidate.has_failed:
            raise BindError("an upgrade is under way; try again when it is over")
        if not 1 <= bind.workers <= MAX_WORKERS:
            raise BindError(f"workers: {bind.workers} is not within 1 and {MAX_WORKERS}")

    # --- workers ----------------------------------------------------------------------------------

    def _fork(self, index: int) -> tuple[Worker, socket.socket]:
        return fork_worker(index, self._options.worker_main, self._abandon)

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
            self._control = execute_control(self._options, {TAKEOVER: self._takeover})
        except OSError as error:
            say(f"control cannot be started: {error.strerror}")
            self._control_gone(1, 0.0)

    @property
    def _takeover(self) -> str:
        """How a control comes by an admin socket that the former generation's control may still serve."""
        if self._parent:
            return "later"
        return "now" if self._generation > 1 else ""

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
            self._control.end(now, self._options.control_stop)

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
        say(f"draining {sum(isinstance(child, Worker) for child in self._children())} workers, {seconds:g} s at most")
        self._phase = Phase.DRAINING
        self._control_due = math.inf
        self._systemd.notify("STOPPING=1")
        self._fail_upgrade("proxyd is shutting down")
        self._listeners.close()
        for control in self._controls():
            if control.is_bound:
                control.tell(Drain(seconds))
        for fleet in (self._fleet, *(generation.fleet for generation in self._past)):
            fleet.drain(seconds, time.monotonic())

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
            self._fail_upgrade("control has ended meanwhile")
            self._control_gone(code, now - control.started)
            return
        if self._candidate and pid == self._candidate.pid:
            self._candidate_gone(self._candidate, words)
            return
        if any(self._reaped_of(generation, pid, status) for generation in self._past):
            return
        worker = self._fleet.exited(pid, status, now)
        if worker and self._control and self._control.is_bound:
            self._control.tell(WorkerExited(worker.index, pid, words))

    # --- upgrades ---------------------------------------------------------------------------------

    def _on_upgrade(self, control: Control, request: Upgrade) -> None:
        why = ""
        if self._phase is not Phase.RUNNING:
            why = "proxyd is shutting down"
        elif not self._options.command:
            why = "nobody has said how this program is started again"
        elif self._parent:
            why = "this generation is still on trial"
        elif self._candidate:
            why = "an upgrade is under way" if not self._candidate.has_failed else "the last attempt is still ending"
        elif self._answer:
            why = "the last upgrade is not complete yet"
        else:
            sockets = state.sockets_state(self._listeners, self._admin)
            try:
                self._candidate = candidate.start(self._options, request, self._generation + 1, sockets)
            except OSError as error:
                why = f"{self._options.command[0]} cannot be executed: {error.strerror}"
        if why:
            control.tell(Upgraded(request.id, self._generation, why))
        else:
            say(f"upgrade: generation {self._generation + 1} is started, {request.seconds:g} s at most")

    def _overhear(self) -> None:
        if self._candidate and self._candidate.errors >= 0:
            self._candidate.overhear()

    def _on_note(self, one: Candidate, note: Note) -> None:
        match note.word:
            case "ready" if not one.has_failed:
                one.tell_note(Note("review", state.pack(self._legacy(one))))
            case "agreed" if not one.has_failed:
                one.is_agreed = True
            case "failed":
                one.why = note.data.decode(errors="backslashreplace")[: candidate.TEXT_CHARACTERS]
                self._fail_upgrade(one.why)
            case "ready" | "agreed":
                pass
            case word:
                raise ValueError(f"a candidate does not say {word}")

    def _tick_upgrade(self, now: float) -> None:
        if self._answer_at <= now:
            self._answer_now()
        one = self._candidate
        if one is None:
            return
        if one.kill_at <= now:
            one.kill_at = math.inf
            one.abort("it did not end in time")
        elif one.deadline <= now:
            self._fail_upgrade(one.reason(f"generation {self._generation + 1} was not ready in time"))
        elif one.is_agreed and one.link.is_open and self._phase is Phase.RUNNING:
            self._become(one)

    def _fail_upgrade(self, why: str) -> None:
        """The candidate is not to succeed us: have it end, and say why. Nothing else changes."""
        one = self._candidate
        if one is not None and not one.has_failed:
            one.dismiss(time.monotonic(), self._drain_timeout)
            self._refuse(one, why)

    def _refuse(self, one: Candidate, why: str) -> None:
        say(f"upgrade failed, generation {self._generation} goes on: {why}")
        if self._control and one.request:
            self._control.tell(Upgraded(one.request.id, self._generation, why))

    def _candidate_gone(self, one: Candidate, words: str) -> None:
        one.overhear_all()
        one.link.close()
        self._candidate = None
        if not one.has_failed:
            self._refuse(one, one.reason(f"generation {self._generation + 1} has ended: {words}"))

    def _legacy(self, one: Candidate) -> Legacy:
        if one.request is None:
            raise AssertionError("a candidate answers a request")
        return Legacy(
            state.FORMAT,
            state.generation_state(self._generation, self._control, list(self._fleet), self._size),
            [state.generation_state(past.number, past.control, list(past.fleet)) for past in self._past],
            state.sockets_state(self._listeners, self._admin),
            self._drain_timeout,
            state.child_state(one),
            one.request.id,
            one.request.drain,
        )

    def _become(self, one: Candidate) -> None:
        """Become the next program, unless a signal is to be heard first; `succeed` goes on there."""
        with successor.signals_kept():
            numbers = [number for number in self._signals.take() if number != signal.SIGCHLD]
            if not numbers:
                one.close_errors()
                try:
                    successor.execute(self._options, self._legacy(one))
                except OSError as error:
                    self._fail_upgrade(f"{self._options.command[0]} cannot be executed: {error.strerror}")
        for number in numbers:
            self._on_signal(number)

    def succeed(self, legacy: Legacy) -> None:
        """Take over what our former self has left, and the generation that it has tried."""
        now = time.monotonic()
        self._pulsed, self._was_bound = now, True
        self._past = [self._revive(generation) for generation in legacy.past]
        former = self._revive(legacy.generation)
        try:
            household = successor.take_household(legacy.candidate)
        except SuccessionError as error:
            self._keep(legacy, former, str(error))
            return
        self._generation, self._size = household.generation.number, household.generation.size
        self._drain_timeout = household.drain_timeout
        self._listeners, self._admin = state.owned(household.sockets, legacy.sockets)
        self._install(self._revive(household.generation))
        self._past.append(former)
        former.fleet.drain(legacy.upgrade_drain, now, gentle=True)
        say(f"upgraded: generation {self._generation} serves, generation {former.number} drains")
        self._systemd.notify(f"STATUS=generation {self._generation} serves, generation {former.number} drains")
        if former.control:
            self._answer = former.control, Upgraded(legacy.upgrade, self._generation)
            self._answer_at = now + PROMOTE_SECONDS
        if self._control:
            self._control.tell(Promote())
            self._introduce()

    def _keep(self, legacy: Legacy, former: Past, why: str) -> None:
        """The new generation is gone: the old one goes on under the new supervisor."""
        say(f"upgrade failed, generation {former.number} goes on: {why}")
        self._generation, self._size = former.number, legacy.generation.size
        self._drain_timeout = legacy.drain_timeout
        self._listeners, self._admin = state.kept(legacy.sockets)
        self._install(former)
        if self._control:
            self._control.tell(Upgraded(legacy.upgrade, self._generation, why))

    def _install(self, generation: Past) -> None:
        """Make a generation the current one."""
        self._control = generation.control
        if self._control is None:
            self._control_due = time.monotonic()
        for worker in generation.fleet:
            self._fleet.adopt(worker)

    def _revive(self, generation: state.GenerationState) -> Past:
        silent_at = time.monotonic() + self._options.control_silence
        control = state.revive_control(generation.control, silent_at) if generation.control else None
        return retired(generation.number, control, [state.revive_worker(worker) for worker in generation.workers])

    def _answer_now(self) -> None:
        """The new control has the admin addresses: who called the upgrade finds it there."""
        if self._answer:
            control, upgraded = self._answer
            self._answer, self._answer_at = None, math.inf
            if control.link.is_open:
                control.tell(upgraded)

    def _introduce(self) -> None:
        """Connect each past control to the current one, and tell that one which generations there are."""
        if not self._control:
            return
        for generation in self._past:
            if generation.control and generation.control.link.is_open:
                ours, theirs = socket.socketpair()
                with ours, theirs:
                    generation.control.tell(Retire(), (theirs.fileno(),))
                    self._control.tell(Predecessor(generation.number), (ours.fileno(),))
        self._tell_generations()

    def _tell_generations(self) -> None:
        if self._control and self._control.is_bound:
            draining = [(generation.number, len(generation.fleet)) for generation in self._past]
            self._control.tell(Generations(self._generation, draining))

    def _reaped_of(self, generation: Past, pid: int, status: int) -> bool:
        """Note that a process of a past generation was reaped; False when it was none."""
        words = describe_exit(status)[1]
        if generation.control and pid == generation.control.pid:
            if not generation.is_ending:
                say(f"{generation.control.title} (pid {pid}) is gone: {words}; its workers drain on")
            generation.control.link.close()
            generation.control = None
        else:
            worker = generation.fleet.exited(pid, status, time.monotonic())
            if worker is None:
                return False
            if generation.control:
                generation.control.tell(WorkerExited(worker.index, pid, words))
        if generation.is_over:
            self._past.remove(generation)
            say(f"generation {generation.number} has drained")
        self._tell_generations()
        return True

    def _serve_parent(self, events: int) -> None:
        """Hear the supervisor that tries us; its end is ours."""
        parent = self._parent
        if parent is None or not parent.link.is_open:
            return
        try:
            if events & _WRITABLE:
                parent.link.flush()
            for payload in self._heard(parent) if events & _READABLE else []:
                note = succession.read(payload)
                if note.word == "review":
                    parent.review(note.data)
                elif note.word == "yield" and self._phase is Phase.RUNNING:
                    self._yield(parent)
        except (LinkClosed, ValueError, SuccessionError) as error:
            say(f"generation {self._generation} ends before it has begun: {error}")
            parent.link.close()
            self._drain(0.0)

    @staticmethod
    def _heard(parent: Parent) -> list[bytes]:
        payloads = parent.link.receive()
        if payloads is None:
            raise LinkClosed("the supervisor that tries it is gone")
        return payloads

    def _yield(self, parent: Parent) -> None:
        """Leave all to the supervisor that has become our program, and end without a trace."""
        sockets = (self._listeners, self._admin)
        parent.give_up(self._control, list(self._fleet), self._size, sockets, self._drain_timeout)
        os._exit(0)


def _seconds(value: float) -> float:
    """Bound a drain's deadline; what is not a number becomes the default."""
    return min(max(value, 0.0), MAX_DRAIN) if math.isfinite(value) else DEFAULT_DRAIN
