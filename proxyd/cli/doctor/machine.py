"""The machine: clock, limits, and whether memory may be writable and executable."""

import ctypes
import mmap
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import proxyd
from proxyd.cli.doctor.findings import Finding, fail, ok, warn

NOFILE_WANTED: Final = 20_000
"""8,192 clients, an upstream connection for each, and some."""
PIDS_WANTED: Final = 64
"""Processes and threads that must still fit: workers, control, its threads, commands of secrets."""
CLOCK_SLACK: Final = 86400.0
"""A file may come from a machine in another time zone whose clock was set wrong by hours, not by more."""

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 512
_SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
_SYSTEMCTL_SECONDS: Final = 5


def check(daemon_pid: int | None, dated: Iterable[Path]) -> list[Finding]:
    """Return what the machine is like; ``dated`` are files that cannot be older than now."""
    return [
        clock(time.time(), kernel_is_synchronised(), dated),
        files(daemon_pid),
        processes(),
        *memory(daemon_pid),
    ]


# --- clock ------------------------------------------------------------------------------------------


def clock(now: float, synchronised: bool | None, dated: Iterable[Path]) -> Finding:
    """Judge the clock by files that were written before now, then by the kernel's word on synchronisation."""
    newest = max((_modified(path) for path in (*dated, Path(proxyd.__file__))), default=0.0)
    if newest > now + CLOCK_SLACK:
        days = (newest - now) / 86400
        return fail(
            "clock",
            f"the clock is {days:.0f} days behind a file of proxyd's own, so certificates seem not to be valid yet",
            "set the clock: timedatectl set-ntp true",
        )
    if synchronised is False:
        return warn(
            "clock",
            "nothing keeps the clock right, and certificates and tokens are judged by it",
            "timedatectl set-ntp true, or install chrony; in a container that is the host's matter",
        )
    return ok("clock", "kept right by time synchronisation" if synchronised else "plausible")


def kernel_is_synchronised() -> bool | None:
    """Ask adjtimex(2), or systemd's mark; None when neither says."""
    if _SYNCHRONISED.exists():
        return True
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    state = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # modes 0: only read
    return None if state < 0 else bool(state != _TIME_ERROR)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


# --- limits -----------------------------------------------------------------------------------------


def files(daemon_pid: int | None) -> Finding:
    """Judge how many descriptors a process of the daemon may open; it raises the soft limit to the hard one."""
    whose, hard = "a daemon started from here", resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if daemon_pid is not None and (found := _daemons_nofile(daemon_pid)) is not None:
        whose, hard = "the daemon", found
    if hard == resource.RLIM_INFINITY or hard >= NOFILE_WANTED:
        return ok("open files", f"{whose} may open {'any number' if hard == resource.RLIM_INFINITY else hard}")
    return warn(
        "open files",
        f"{whose} may open {hard} files, which is fewer than its default of 8192 clients needs",
        f"raise the hard limit to {NOFILE_WANTED}: LimitNOFILE= of the unit, or ulimit -Hn",
    )


def _daemons_nofile(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Max open files"):
            word = line.split()[4]
            return resource.RLIM_INFINITY if word == "unlimited" else int(word)
    return None


def processes() -> Finding:
    """Judge how many more processes fit into the cgroup and under RLIMIT_NPROC."""
    try:
        group = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip()
        folder = Path("/sys/fs/cgroup", group.lstrip("/"))
        most, now = (folder / "pids.max").read_text().strip(), int((folder / "pids.current").read_text())
    except (OSError, ValueError):
        return ok("processes", "no limit of the cgroup is known")
    if most == "max" or int(most) - now >= PIDS_WANTED:
        return ok("processes", f"{now} of {most} in this cgroup")
    return warn(
        "processes",
        f"only {int(most) - now} more fit into this cgroup (pids.max {most})",
        "raise TasksMax= of the unit, or the container's pids limit",
    )


# --- memory -----------------------------------------------------------------------------------------


def memory(daemon_pid: int | None, show: Callable[[str], str] | None = None) -> list[Finding]:
    """Say where memory must not be writable and executable: pyOpenSSL's callbacks and JIT compilers need that.

    proxyd itself sets no such callback, so it runs under it.
    """
    findings = []
    if not may_write_and_execute():
        findings.append(
            warn(
                "memory",
                "writable executable memory is denied here (MemoryDenyWriteExecute, SELinux execmem or PaX); proxyd "
                "runs, but Node, Java and plugins that set pyOpenSSL callbacks do not",
                "for a unit that runs such programs: MemoryDenyWriteExecute=no",
            )
        )
    unit = _unit(daemon_pid) if daemon_pid is not None else ""
    if unit and (show or _systemctl_show)(unit) == "yes":
        what = f"{unit} denies writable executable memory; proxyd needs none, plugins with pyOpenSSL callbacks would"
        findings.append(ok("memory", what))
    return findings or [ok("memory", "writable executable memory is allowed, for whatever plugin needs it")]


def may_write_and_execute() -> bool:
    """Ask the kernel for one such page: this finds prctl, seccomp, SELinux and PaX alike."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def _unit(pid: int) -> str:
    """Return the systemd service that a process belongs to, or nothing."""
    try:
        last = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition("/")[2]
    except OSError:
        return ""
    return last if last.endswith(".service") else ""


def _systemctl_show(unit: str) -> str:
    try:
        done = subprocess.run(
            ["systemctl", "show", "--value", "-p", "MemoryDenyWriteExecute", unit],
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
