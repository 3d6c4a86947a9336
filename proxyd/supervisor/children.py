"""How children are made and what is known of each: control is executed, workers are forked warm."""

import contextlib
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from proxyd.core.counts import SharedCounts
from proxyd.core.messages import Message
from proxyd.net.framing import LinkClosed
from proxyd.net.process import close_descriptors, set_name
from proxyd.supervisor.link import BufferedLink
from proxyd.supervisor.notice import say
from proxyd.supervisor.options import SUPERVISOR_FD, Options, WorkerMain
from proxyd.supervisor.signals import become_worker, held
from proxyd.wire import ipc

LINGER: Final = 5.0
"""Seconds that a child has to exit after it closed its link."""

NOTHING: Final[Mapping[str, str]] = {}

_YOUNG: Final = 10.0
_FIRST_DELAY: Final = 0.1
_LAST_DELAY: Final = 5.0
_CRASHED: Final = 70  # EX_SOFTWARE, sysexits.h


@dataclass(slots=True, eq=False)
class Child:
    """A process of ours that was not reaped yet, so that its pid is still its own."""

    title: str
    pid: int
    link: BufferedLink
    started: float
    kill_at: float = math.inf
    """Monotonic seconds at which it gets SIGKILL."""

    def tell(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send ``message``; a child that cannot be told is killed, and replaced by whoever looks after it."""
        try:
            self.link.send(ipc.encode(message), fds)
        except LinkClosed as error:
            self.abort(str(error))

    def abort(self, why: str) -> None:
        """Say why and kill the process."""
        say(f"{self.title} (pid {self.pid}) is killed: {why}")
        self.kill()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def end_link(self, now: float) -> None:
        """Note that the child closed its link: it is about to exit, or is made to."""
        self.link.close()
        self.kill_at = min(self.kill_at, now + LINGER)


@dataclass(slots=True, eq=False)
class Control(Child):
    """The control process."""

    silent_at: float = math.inf
    """Monotonic seconds at which it counts as hung."""
    is_bound: bool = False
    """It has had a successful Bind, so it takes workers."""

    @property
    def next_deadline(self) -> float:
        """When ``check`` has something to do; infinity: never."""
        return min(self.kill_at, self.silent_at)

    def check(self, now: float) -> None:
        """Kill it when it is late or silent."""
        if self.next_deadline > now:
            return
        late = self.kill_at <= now
        self.kill_at = self.silent_at = math.inf
        self.abort("it did not end in time" if late else "it was silent for too long")

    def end(self, now: float, seconds: float) -> None:
        """Tell it to end within ``seconds``."""
        self.kill(signal.SIGTERM)
        self.kill_at = min(self.kill_at, now + seconds)
        self.silent_at = math.inf


@dataclass(slots=True, eq=False)
class Worker(Child):
    """A worker process."""

    index: int = 0
    is_retiring: bool = False
    """It was told to drain and will not be replaced."""


class Backoff:
    """How long to wait before the next start: not at all, unless it dies young again and again."""

    def __init__(self) -> None:
        self._next = 0.0

    def delay(self, lived: float) -> float:
        """Return the seconds to wait after a life of ``lived`` seconds."""
        delay = self._next if lived < _YOUNG else 0.0
        self._next = min(max(delay * 2, _FIRST_DELAY), _LAST_DELAY)
        return delay


def describe_exit(status: int) -> tuple[int, str]:
    """Return (exit code as a shell counts, words) of a wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code, f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return 128 - code, f"killed by {name}"


def execute_control(options: Options, variables: Mapping[str, str] = NOTHING) -> Control:
    """Execute control in a process group of its own, so that the terminal's signals come to us alone."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            os.set_inheritable(theirs.fileno(), True)
            environment = {**os.environ, **options.environment, **variables, SUPERVISOR_FD: str(theirs.fileno())}
            command = list(options.control_command)
            pid = os.posix_spawnp(
                command[0],
                command,
                environment,
                setpgroup=0,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores these two, and exec hands that on
            )
        except OSError:
            ours.close()
            raise
    now = time.monotonic()
    return Control("control", pid, BufferedLink(ours, ipc.MAX_UP), now, silent_at=now + options.control_start)


def fork_worker(
    index: int, main: WorkerMain, counts: SharedCounts, leave: Callable[[], None]
) -> tuple[Worker, socket.socket]:
    """Fork a worker; return it and the socket that is control's end of its link.

    ``leave`` runs in the child and closes the objects that hold the supervisor's descriptors.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair())
        controls, workers = map(stack.enter_context, socket.socketpair())
        sys.stdout.flush()
        sys.stderr.flush()
        with held() as mask:
            pid = os.fork()
            if pid == 0:
                ours.close()
                controls.close()
                _become_worker(index, main, counts, (workers, theirs), lambda: _leave(leave, mask))
        stack.pop_all()
    theirs.close()
    workers.close()
    link = BufferedLink(ours, ipc.MAX_UP)
    return Worker(f"worker {index}", pid, link, time.monotonic(), index=index), controls


def _leave(leave: Callable[[], None], mask: set[Any]) -> None:
    become_worker()
    leave()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _become_worker(
    index: int,
    main: WorkerMain,
    counts: SharedCounts,
    links: tuple[socket.socket, socket.socket],
    leave: Callable[[], None],
) -> NoReturn:
    """Be the worker until the process ends: the parent's frames below this one are never returned to."""
    code = _CRASHED
    try:
        leave()
        control, supervisor = (link.detach() for link in links)
        close_descriptors({control, supervisor})
        set_name(f"proxyd-w{index}")
        code = main(index, control, supervisor, counts)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else _CRASHED
    except BaseException:  # noqa: BLE001 - the process's outermost frame
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
