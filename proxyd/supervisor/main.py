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
import time
from collections.abc import Callable
from typing import Final

from proxyd.core.messages import Drain, Message, Promote, Reload, Reopen, Upgrade, Upgraded
from proxyd.net.framing import LinkClosed
from proxyd.net.process import harden, raise_nofile, seal_descriptors, set_name
from proxyd.supervisor import state, succession
from proxyd.supervisor.activation import take_inherited
from proxyd.supervisor.candidate import Candidate
from proxyd.supervisor.children import Child, Control, Worker, describe_exit
from proxyd.supervisor.current import Current
from proxyd.supervisor.desk import Desk, bounded
from proxyd.supervisor.listeners import Listeners
from proxyd.supervisor.notice import say
from proxyd.supervisor.options import Options
from proxyd.supervisor.parent import Parent
from proxyd.supervisor.past import Pasts
from proxyd.supervisor.signals import Signals
from proxyd.supervisor.sockets import Sockets
from proxyd.supervisor.state import Legacy
from proxyd.supervisor.succession import SuccessionError
from proxyd.supervisor.successor import read_legacy, take_over
from proxyd.supervisor.systemd import Systemd
from proxyd.supervisor.upgrades import Upgrades

ECHO_SECONDS: Final = 0.5
"""``timeout`` and others send a signal to the process and to its group; a person who insists takes longer."""
_LONGEST_WAIT: Final = 60.0
_FROZEN: Final = 2.0
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
        self._sockets = Sockets(parent.listeners, parent.admin) if parent else Sockets(listeners)
        self._parent = parent
        """While we are on trial."""
        self._current = Current(options, parent.number if parent else 1, self._abandon)
        self._past = Pasts()
        self._upgrades = Upgrades(self)
        self._desk = Desk(self._current, self._past, self._sockets, self._upgrades, self._drain)
        self._desk.parent = parent
        self._signals = Signals()
        self._systemd = Systemd(os.environ)
        self._echo = (0, 0.0)
        """The signal that ordered the stop, and the monotonic time before which the same one is its echo."""
        self._phase = Phase.RUNNING
        self._exit_code: int | None = None

    def run(self) -> int:
        """Start control, unless there is one, then everything that it asks for; return the exit code."""
        if self._current.control is None:
            self._exit_code = self._current.start_control(self._takeover)
        if self._exit_code is None:
            self.options.preload()
            gc.collect()
            gc.freeze()  # workers share these pages for as long as no collection writes to them
        if self._current.size:  # taken over; some may have died meanwhile
            self._reap()
            self._current.resize()
        while self._exit_code is None:
            self._turn()
        return self._exit_code

    def close(self) -> None:
        """Let go of everything; children still alive see their links end."""
        self._sockets.close()
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
        trial = [self._upgrades.candidate] if self._upgrades.candidate else []
        return [*trial, *self._current, *self._past.children]

    def _controls(self) -> list[Control]:
        return [child for child in self._children() if isinstance(child, Control)]

    def _next_deadline(self) -> float:
        parts = (self._current, self._past, self._upgrades)
        return min(*(part.next_deadline for part in parts), self._systemd.next_pet)

    def _forgive_silence(self) -> None:
        """We were stopped ourselves (SIGSTOP, frozen cgroup): control had no chance to be heard."""
        for control in self._controls():
            if math.isfinite(control.silent_at):
                control.silent_at = max(control.silent_at, time.monotonic() + self.options.control_silence)

    def _tick(self, now: float) -> None:
        code = self._current.tick(now, self._takeover)
        if self._exit_code is None:
            self._exit_code = code
        self._past.tick(now, self.options.control_stop)
        self._upgrades.tick(now)
        if self._phase is Phase.DRAINING and not (self._current.fleet or self._past or self._upgrades.candidate):
            self._phase = Phase.ENDING
            if self._current.control:
                self._current.control.end(now, self.options.control_stop)
        if self._phase is Phase.ENDING and self._current.control is None and self._exit_code is None:
            self._exit_code = 0
        self._systemd.pet(now, is_healthy=self._is_healthy(now))

    def _is_healthy(self, now: float) -> bool:
        return self._phase is not Phase.RUNNING or self._current.is_healthy(now)

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
                    self._desk.take(child, payload, self._systemd)
                else:
                    raise ValueError("workers have nothing to say here")
            if child.link.violation:
                raise ValueError(child.link.violation)
        except (ValueError, LinkClosed) as error:
            child.abort(f"it broke a rule of its link: {error}")
            child.link.close()

    # --- children ---------------------------------------------------------------------------------

    def _abandon(self) -> None:
        """Close a forked child's copies of what is ours."""
        self._sockets.abandon()
        for child in self._children():
            child.link.close()
        if self._parent:
            self._parent.link.close()
        self._signals.abandon()

    @property
    def _takeover(self) -> str:
        """How a control comes by an admin socket that the former generation's control may still serve."""
        if self._parent:
            return "later"
        return "now" if self.generation > 1 else ""

    # --- signals and deaths -----------------------------------------------------------------------

    def on_signal(self, number: int) -> None:
        """Act on a signal."""
        if number == signal.SIGHUP:
            self._current.tell(Reload())
        elif number == signal.SIGUSR1:
            self._current.tell(Reopen())
            self._past.tell_controls(Reopen())
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._phase is Phase.RUNNING:
                self._echo = (number, time.monotonic() + ECHO_SECONDS)
                self._drain(self.drain_timeout)
            elif number != self._echo[0] or time.monotonic() >= self._echo[1]:
                self._hurry()

    def _drain(self, seconds: float) -> None:
        if self._phase is not Phase.RUNNING:
            return
        seconds = bounded(seconds)
        say(f"draining {sum(isinstance(child, Worker) for child in self._children())} workers, {seconds:g} s at most")
        self._phase = Phase.DRAINING
        self._desk.is_closed = True
        self._current.stop_starting()
        self._systemd.notify("STOPPING=1")
        self._upgrades.answer()
        self._upgrades.fail("proxyd is shutting down")
        self._sockets.listeners.close()
        for control in self._controls():
            if control.is_bound:
                control.tell(Drain(seconds))
        self._current.fleet.drain(seconds, time.monotonic())
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
        if self._current.control and pid == self._current.control.pid:
            self._control_exited(pid, code, words, now)
        elif self._upgrades.exited(pid, words):
            pass
        elif self._past.exited(pid, status, now):
            self._past.tell(self._current.control, self.generation)
        else:
            self._current.worker_exited(pid, status, words, now)

    def _control_exited(self, pid: int, code: int, words: str, now: float) -> None:
        code_of_ours = self._current.control_exited(code, now)
        self._upgrades.fail("control has ended meanwhile")
        if self._phase is not Phase.RUNNING:
            self._current.stop_starting()
            return
        if code_of_ours is None:
            say(f"control (pid {pid}) is gone: {words}; workers go on")
        self._exit_code = code_of_ours

    # --- upgrades (upgrades.Serving) --------------------------------------------------------------

    @property
    def generation(self) -> int:
        """The number of the generation that serves."""
        return self._current.number

    @property
    def drain_timeout(self) -> float:
        """What the workers of a candidate that failed may take to end."""
        return self._current.drain_timeout

    @property
    def is_running(self) -> bool:
        """Whether nobody has told us to end."""
        return self._phase is Phase.RUNNING

    @property
    def sockets(self) -> state.SocketsState:
        """All listening sockets."""
        return self._sockets.state

    def tell_control(self, message: Message) -> None:
        """Send something to the control that serves, if there is one."""
        self._current.tell(message)

    def take_signals(self) -> list[int]:
        """Return the signals that came and were not acted on; SIGCHLD is none, children are looked after anyway."""
        return [number for number in self._signals.take() if number != signal.SIGCHLD]

    def legacy(self, one: Candidate, request: Upgrade) -> Legacy:
        """Describe all that goes through the exec."""
        return Legacy(
            state.FORMAT,
            self._current.state,
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
        self._sockets.listeners, self._sockets.admin = heir.listeners, heir.admin
        self._current.inherit(heir.current, heir.size, heir.drain_timeout, now)
        self._past.adopt(heir.past)
        former = heir.former
        if former is None:
            self._upgrades.answer_failure(legacy.upgrade, heir.problem)
            return
        former.fleet.drain(legacy.upgrade_drain, now, gentle=True)
        say(f"upgraded: generation {self.generation} serves, generation {former.number} drains")
        self._systemd.notify(f"STATUS=generation {self.generation} serves, generation {former.number} drains")
        self._upgrades.answer_later(former, Upgraded(legacy.upgrade, self.generation), now)
        if self._current.control:
            self._current.tell(Promote())
            self._past.introduce(self._current.control, self.generation)

    # --- on trial ---------------------------------------------------------------------------------

    def _serve_parent(self, events: int) -> None:
        """Hear the supervisor that tries us; its end is ours."""
        parent = self._parent
        if parent is None or not parent.link.is_open:
            return
        try:
            if parent.serve(events) and self._phase is Phase.RUNNING:
                parent.give_up(self._current.state, self._sockets.state, self.drain_timeout)
                os._exit(0)  # all is in other hands, nothing is to be tidied up
        except (LinkClosed, ValueError, SuccessionError) as error:
            say(f"generation {self.generation} ends before it has begun: {error}")
            parent.link.close()
            self._drain(0.0)
