"""What proxyd's processes cost: memory, CPU and descriptors, read from /proc.

Processes are not dumpable, so without root a reading of another process may lack the proportional memory and the
number of descriptors; what cannot be read is left out, never guessed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import psutil

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Usage:
    """One reading of one process; None where it may not be read."""

    process: str
    """Its part: ``supervisor``, ``control``, ``worker-0``."""
    pid: int
    started: float
    """Unix time."""
    cpu_seconds: float
    resident_bytes: int
    proportional_bytes: int | None
    descriptors: int | None
    threads: int


def measure(processes: Iterable[tuple[str, int]]) -> list[Usage]:
    """Read each (part, pid); one that is gone is left out. About a millisecond per process: call it in a thread."""
    return [usage for name, pid in processes if (usage := _measure(name, pid)) is not None]


def _measure(name: str, pid: int) -> Usage | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Usage(
                process=name,
                pid=pid,
                started=process.create_time(),
                cpu_seconds=times.user + times.system,
                resident_bytes=process.memory_info().rss,
                proportional_bytes=_if_allowed(lambda: int(process.memory_full_info().pss)),
                descriptors=_if_allowed(process.num_fds),
                threads=process.num_threads(),
            )
    except psutil.NoSuchProcess:
        return None


def _if_allowed(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except psutil.AccessDenied:
        return None
