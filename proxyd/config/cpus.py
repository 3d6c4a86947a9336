"""How many CPUs this process may use: its affinity, and the quotas of its control groups."""

import math
import os
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cpus(affinity: int | None = None, cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Return a number of at least 1; a fraction of a quota counts as a whole CPU."""
    limit = affinity if affinity is not None else len(os.sched_getaffinity(0))
    for folder in _folders(own):
        for quota in (_quota_v2(cgroups / folder), _quota_v1(cgroups / "cpu" / folder)):
            if quota is not None:
                limit = min(limit, math.ceil(quota))
    return max(limit, 1)


def _folders(own: Path) -> list[str]:
    """Return the paths of this process's group and all above it, relative to the hierarchy's root."""
    found = {"."}
    for line in _read(own).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers or "cpu" in controllers.split(","):
            group = PurePosixPath(path.lstrip("/"))
            found |= {str(folder) for folder in (group, *group.parents)}
    return sorted(folder for folder in found if ".." not in PurePosixPath(folder).parts)


def _quota_v2(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.max").split())  # cgroup v2: "max 100000" or "150000 100000"


def _quota_v1(folder: Path) -> float | None:
    return _ratio([_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()])


def _ratio(parts: list[str]) -> float | None:
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):  # "max" and -1: no quota
        return None
    quota, period = map(int, parts)
    return quota / period if quota and period else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another version of cgroups, or none at all
        return ""
