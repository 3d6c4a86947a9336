"""What every proxyd process does to itself when it starts: no dumps, many descriptors, a name."""

import contextlib
import ctypes
import os
import resource
from collections.abc import Collection
from typing import Final

DUMPABLE_VARIABLE: Final = "PROXYD_DUMPABLE"
"""Set to 1, it keeps processes readable for profilers and for the bench."""

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_FALLBACK_DESCRIPTORS: Final = 4096


def harden() -> bool:
    """Forbid core dumps, ptrace and /proc/PID/mem to the process's own user; return whether it was done.

    ``PROXYD_DUMPABLE=1`` leaves the process as it is. The kernel undoes this on exec but not on fork: an executed
    process calls it again.
    """
    if is_dumpable_wanted():
        return False
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    return True


def is_dumpable_wanted() -> bool:
    """Whether the environment asks for processes that profilers can read."""
    return os.environ.get(DUMPABLE_VARIABLE) == "1"


def raise_nofile() -> int:
    """Raise the soft limit of open descriptors to the hard one and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def set_name(name: str) -> None:
    """Set what ``ps -o comm`` and ``top`` show; the kernel keeps 15 bytes."""
    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:15]))


def is_running(pid: int) -> bool:
    """Whether there is a process of this id, in this pid namespace."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def become_subreaper() -> None:
    """Become the parent of those descendants whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def proportional_bytes() -> int | None:
    """Return this process's proportional memory (PSS), which only root and the process itself may read.

    Walking the pages takes the kernel about a millisecond. None: there is no /proc, or no such file in it.
    """
    try:
        with open("/proc/self/smaps_rollup", "rb") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:")), None)
    except OSError:
        return None


def close_descriptors(keep: Collection[int]) -> None:
    """Close every descriptor above 2 that is not in ``keep``: what a forked child must not hold."""
    for fd in _descriptors():
        if fd not in keep:
            with contextlib.suppress(OSError):  # the listing's own descriptor is gone already
                os.close(fd)


def seal_descriptors() -> None:
    """Mark every descriptor above 2 CLOEXEC, those too that whoever started this process left open."""
    for fd in _descriptors():
        with contextlib.suppress(OSError):
            os.set_inheritable(fd, False)


def _descriptors() -> list[int]:
    try:
        present = map(int, os.listdir("/proc/self/fd"))
    except OSError:  # /proc is not mounted
        present = map(int, range(_FALLBACK_DESCRIPTORS))
    return [fd for fd in present if fd > 2]


def _prctl(option: int, value: "int | ctypes.Array[ctypes.c_char]") -> None:
    argument = ctypes.c_ulong(value) if isinstance(value, int) else value
    zero = ctypes.c_ulong(0)
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, zero, zero, zero):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl({option})")
