"""Files that survive kill -9 at any instant: a reader sees the former content or the new, never a part.

New content is written under a name of its own, synced, renamed over the old one, and the folder is synced. One lock
(flock, released by the kernel when its holder dies) is held by whoever writes.
"""

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxyd.vault.errors import VaultError

LOCK_SECONDS: Final = 10.0
"""How long another writer is waited for."""
_LOOK_SECONDS: Final = 0.01


@contextlib.contextmanager
def locked(folder: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the folder's lock, which is made with the folder. VaultError, for whatever the system refuses within too."""
    try:
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            _give(folder, folder.parent)
            sync(folder.parent)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise unusable(folder, error) from None
    try:
        _give(descriptor, folder)
        _take(descriptor, folder, seconds)
        yield
    except OSError as error:
        raise unusable(folder, error) from None
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes, *, give: bool = True) -> None:
    """Write ``data`` to ``path`` (0600); it is on the disk when this returns. One writer at a time. OSError.

    ``give``: what root writes becomes the folder's owner's.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # of a writer that was killed
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            if give:
                _give(descriptor, path.parent)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make renames and removals within ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, if it is there; OSError."""
    if path.exists():
        path.unlink()
        sync(path.parent)


def read(path: Path, limit: int, *, private: bool = True, follow: bool = False) -> bytes | None:
    """Return a file's content, None where there is none. VaultError: open to others, too long, not a file.

    ``follow`` symbolic links: for keys that something else puts there, such as a Kubernetes secret's.
    """
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, error) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise VaultError(f"{path} is not a regular file; move it away")
        if private and is_exposed(found):
            mode = stat.S_IMODE(found.st_mode)
            raise VaultError(
                f"{path} is open to others (mode {mode:04o}): chmod 600 it, and change what they may have read"
            )
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise unusable(path, error) from None
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise VaultError(f"{path} has more than {limit} bytes; it is not what proxyd wrote")
    return data


def is_exposed(found: os.stat_result) -> bool:
    """Whether others than root and this user can read a file, or write to it.

    What somebody else owns, such as root or a Kubernetes secret, is read through the group: nobody else's business.
    """
    allowed = 0o700 if found.st_uid == os.geteuid() else 0o740
    return bool(stat.S_IMODE(found.st_mode) & ~allowed)


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does; empty while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def unusable(path: Path, error: OSError) -> VaultError:
    """Say that the system refuses a file."""
    return VaultError(
        f"{error.filename or path}: {error.strerror or 'cannot be used'}; let proxyd's user write to the state folder"
    )


def _give(made: int | Path, folder: Path) -> None:
    """Let what root makes in the folder of the daemon's own user be that user's."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def _take(descriptor: int, folder: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise VaultError(
                    f"another process has been writing to the vault in {folder} for {seconds:g} s; try again, or look "
                    "for a stopped one (lsof)"
                ) from None
            threading.Event().wait(_LOOK_SECONDS)
