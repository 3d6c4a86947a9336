"""The exec: a supervisor becomes the next program and keeps its pid, its children and its sockets.

The pid matters: it is what systemd watches, what a container calls 1, and what whoever started the daemon waits for.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from proxyd.net.framing import close_fds
from proxyd.supervisor.listeners import Listeners
from proxyd.supervisor.options import Options
from proxyd.supervisor.past import Past, past_of
from proxyd.supervisor.signals import HANDLED
from proxyd.supervisor.state import (
    ChildState,
    GenerationState,
    Household,
    Legacy,
    descriptors,
    kept,
    owned,
    pack,
    revive_control,
    revive_counts,
    revive_worker,
    unpack,
)
from proxyd.supervisor.succession import ROLE, Note, SuccessionError, Talk, from_memory, to_memory

HOUSEHOLD_SECONDS: Final = 10.0


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Hold signals back: those that come before an exec wait for the next program, which lets them in."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def execute(options: Options, legacy: Legacy) -> NoReturn:
    """Become the program on disk. Returns only by OSError, with everything as it was."""
    memory = to_memory(pack(legacy))
    numbers = [*descriptors(legacy), memory]
    command = list(options.command)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    try:
        for fd in numbers:
            os.set_inheritable(fd, True)
        os.execvpe(command[0], command, {**options.environ, ROLE: f"successor:{memory}"})  # noqa: S606 - our own
    except OSError:
        for fd in numbers:
            os.set_inheritable(fd, False)
        os.close(memory)
        raise


def read_legacy(memory: int) -> Legacy:
    """Read what our former self has left. ValueError: it was another format, which the review excludes."""
    return unpack(Legacy, from_memory(memory))


@dataclass(slots=True)
class Heir:
    """What there is after the exec."""

    current: Past
    """The generation that serves."""
    past: list[Past]
    size: int
    drain_timeout: float
    listeners: Listeners
    admin: Listeners
    former: Past | None = None
    """The one that served until now, the last of ``past``; None: it still does."""
    problem: str = ""
    """Why it still does."""


def take_over(legacy: Legacy, silent_at: float) -> Heir:
    """Put together what our former self has left and what the candidate hands over.

    A candidate that has ended meanwhile leaves all as it was: the old generation goes on under the new supervisor.
    """
    past = [_revive(generation, silent_at) for generation in legacy.past]
    former = _revive(legacy.generation, silent_at)
    try:
        household = take_household(legacy.candidate)
    except SuccessionError as error:
        return Heir(
            former, past, legacy.generation.size, legacy.drain_timeout, *kept(legacy.sockets), problem=str(error)
        )
    current = _revive(household.generation, silent_at)
    past.append(former)
    sockets = owned(household.sockets, legacy.sockets)
    return Heir(current, past, household.generation.size, household.drain_timeout, *sockets, former=former)


def _revive(generation: GenerationState, silent_at: float) -> Past:
    control = revive_control(generation.control, silent_at) if generation.control else None
    counts = revive_counts(generation.counts) if generation.counts else None
    return past_of(generation.number, control, [revive_worker(worker) for worker in generation.workers], counts)


def take_household(candidate: ChildState) -> Household:
    """Have the candidate hand its generation over and end. SuccessionError: it did not."""
    talk = Talk(socket.socket(fileno=candidate.link.fd), candidate.link.received)
    try:
        talk.say(Note("yield"))
        data, fds = talk.hear("household", HOUSEHOLD_SECONDS)
        try:
            return unpack(Household, data, fds)
        except (ValueError, KeyError) as error:
            close_fds(fds.values())
            raise SuccessionError(f"the new generation is not what it should be: {error}") from error
    finally:
        talk.close()
