"""Runs the command of ``proxyd exec`` as a shell would: its signals, its exit code."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from proxyd.cli.exits import BY_SIGNAL, NOT_EXECUTABLE, NOT_FOUND, CommandError

FORWARDED: Final = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
)
LOOK_SECONDS: Final = 1.0
"""Between looks at the command without a signal: where a thread of somebody's runs, the kernel may give it ours."""
_WAITED: Final = FORWARDED | {signal.SIGCHLD}
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)


def replace(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Become ``command``. Returns only by CommandError."""
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - the command is the person's own
    except OSError as error:
        raise _not_run(command[0], error) from None


def run(command: Sequence[str], environment: Mapping[str, str], on_child: Callable[[], None]) -> int:
    """Run ``command`` to its end and return its exit code, 128 + n when signal n ended it.

    A signal that is sent to this process is sent on; one that the terminal sent has reached the command already.
    ``on_child`` is called whenever a child of this process, the command included, may have ended.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    try:
        try:
            pid = os.posix_spawnp(
                command[0], list(command), dict(environment), setsigmask=former, setsigdef=_IGNORED_BY_PYTHON
            )
        except OSError as error:
            raise _not_run(command[0], error) from None
        while True:
            arrived = signal.sigtimedwait(_WAITED, LOOK_SECONDS)
            if arrived is None or arrived.si_signo == signal.SIGCHLD:
                ended, status = os.waitpid(pid, os.WNOHANG)
                on_child()
                if ended:
                    code = os.waitstatus_to_exitcode(status)
                    return code if code >= 0 else BY_SIGNAL - code
            elif arrived.si_code <= 0:  # SI_USER and its like: from a process, not from the terminal
                os.kill(pid, arrived.si_signo)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _not_run(name: str, error: OSError) -> CommandError:
    if isinstance(error, FileNotFoundError) or (isinstance(error, PermissionError) and not _is_on_path(name)):
        return CommandError(f"{name}: command not found", NOT_FOUND)
    return CommandError(f"{name}: {error.strerror}", NOT_EXECUTABLE)


def _is_on_path(name: str) -> bool:
    """Whether there is a file of this name: a folder on PATH that may not be entered denies permission to any."""
    return "/" in name or any(os.path.exists(os.path.join(folder, name)) for folder in os.get_exec_path())


def warn(text: str) -> None:
    """Say something beside the command's own output."""
    print(f"proxyd: {text}", file=sys.stderr)
