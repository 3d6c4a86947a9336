"""Endpoints from a file that others write.

The path is looked at once a second, through every symbolic link on it: a file that was replaced by rename, written in
place, or swapped with its folder (Kubernetes' ``..data``) has another stamp. A broken file keeps the former list.
"""

import os
from pathlib import Path
from typing import Final

import trio

from proxyd.control.discovery.watch import Watch
from proxyd.core.discovery import ListFile
from proxyd.core.service import Endpoint

POLL_SECONDS: Final = 1.0

Stamp = tuple[int, ...]


async def follow(finder: ListFile, watch: Watch) -> None:
    """Tell ``watch`` what the file says, until cancelled."""
    from proxyd.config.endpoint_list import load_endpoints  # a parser that most configurations do not need here
    from proxyd.reading.problems import ConfigError

    seen: Stamp | None = None
    path = Path(finder.path)
    while True:
        stamp = await trio.to_thread.run_sync(_stamp, path, abandon_on_cancel=True)
        if stamp != seen:
            seen = stamp
            try:
                endpoints: tuple[Endpoint, ...] = await trio.to_thread.run_sync(
                    load_endpoints, path, abandon_on_cancel=True
                )
            except ConfigError as error:
                watch.failed(*str(error).splitlines())
            except OSError as error:
                watch.failed(f"{path}: the file cannot be read: {error.strerror}")
            else:
                watch.found(endpoints)
        await trio.sleep(POLL_SECONDS)


def _stamp(path: Path) -> Stamp:
    """Return what changes with the file's content; empty where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
