"""Where proxyd keeps its files when nobody says otherwise.

Root: ``/var/lib/proxyd`` and ``/run/proxyd``. Anyone else: ``proxyd`` below XDG_STATE_HOME (``~/.local/state``) and
below XDG_RUNTIME_DIR, or ``/tmp/proxyd-UID`` where there is no runtime folder.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxyd.cli.exits import CommandError

ADMIN_SOCKET: Final = "admin.sock"


def state_dir(variables: Mapping[str, str], uid: int) -> Path:
    """Return the folder for what must outlive a restart."""
    if uid == 0:
        return Path("/var/lib/proxyd")
    return _xdg(variables, "XDG_STATE_HOME", Path(variables.get("HOME") or "/", ".local", "state")) / "proxyd"


def runtime_dir(variables: Mapping[str, str], uid: int) -> Path:
    """Return the folder for sockets and what is made anew at each start."""
    if uid == 0:
        return Path("/run/proxyd")
    if not variables.get("XDG_RUNTIME_DIR"):
        return Path("/tmp", f"proxyd-{uid}")  # noqa: S108 - private() checks its owner and mode
    return _xdg(variables, "XDG_RUNTIME_DIR", Path("/")) / "proxyd"


def admin_socket(runtime: Path) -> Path:
    """Return the admin socket of a daemon that was told nothing else."""
    return runtime / ADMIN_SOCKET


def private(folder: Path) -> Path:
    """Make ``folder`` (0700) and check that it is ours and nobody else can write to it; CommandError otherwise."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise CommandError(
            f"{folder}: {error.strerror}; name another folder with --state-dir or --runtime-dir"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise CommandError(f"{folder}: not a folder; remove it or name another one")
    if found.st_uid != os.geteuid():
        raise CommandError(f"{folder}: belongs to uid {found.st_uid}; remove it or name another folder")
    if found.st_mode & 0o022:
        raise CommandError(f"{folder}: others can write to it; chmod go-w it or name another folder")
    return folder


def _xdg(variables: Mapping[str, str], name: str, default: Path) -> Path:
    value = variables.get(name, "")
    return Path(value) if value.startswith("/") else default  # the specification: ignore what is relative
