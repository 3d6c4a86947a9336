"""The admin addresses: bound at once, so that a mistake is told before anything is served."""

import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyd.core.settings import Readers

BACKLOG: Final = 64
PATH_BYTES: Final = 107
"""sun_path of unix(7), its NUL left out."""
PROBE_SECONDS: Final = 1.0
BESIDE: Final = ".next"
"""Name of a socket that is to take another's place: shorter than any name that one chooses, for sun_path's sake."""
NOBODY: Final = Readers()

Tcp = socket.socket
"""A listening TCP socket."""


class BindError(Exception):
    """An admin address cannot be had; the message names it and says what to do."""


@dataclass(slots=True)
class UnixListener:
    """A listening Unix socket and the file that it made."""

    path: Path
    sock: socket.socket
    inode: tuple[int, int]
    place: Path | None = None
    """Where it is meant to be, as long as that is another's."""

    def promote(self) -> None:
        """Take its place, in one step: whoever connects meets the one or the other."""
        if self.place is not None:
            self.path.rename(self.place)
            self.path, self.place = self.place, None

    def close(self) -> None:
        """Stop listening; remove the file unless it is somebody else's by now."""
        self.sock.close()
        with contextlib.suppress(FileNotFoundError):
            if _inode(self.path) == self.inode:
                self.path.unlink()


def bind_beside(path: Path, readers: Readers = NOBODY) -> UnixListener:
    """Listen next to ``path``, where another still serves; ``promote`` takes its place. BindError."""
    listener = bind_unix(path.with_name(BESIDE), readers)
    listener.place = path
    return listener


def bind_unix(path: Path, readers: Readers = NOBODY) -> UnixListener:
    """Listen on ``path``. A socket that nobody answers on is replaced; BindError for anything else.

    The mode is 0600. With readers it is wider, so that they reach the socket, whose server then asks the kernel who
    they are: 0660 and their group where there is one group and no more, else 0666.
    """
    if len(os.fsencode(path)) > PATH_BYTES:
        raise BindError(f"admin.socket {path}: longer than {PATH_BYTES} bytes; choose a shorter path")
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
        _open_to(path, readers)
        sock.listen(BACKLOG)
        return UnixListener(path, sock, _inode(path))
    except OSError as error:
        sock.close()
        raise BindError(f"admin.socket {path}: {error.strerror}") from error
    finally:
        os.umask(mask)


def host_port(sock: socket.socket) -> str:
    """Return where a TCP socket listens, IPv6 in brackets."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BindError(f"admin.socket {path}: there is something that is no socket; remove it or choose another")
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(f"admin.socket {path}: {error.strerror}") from error
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise BindError(f"admin.socket {path}: {error.strerror or error}; is it another user's?") from error
    raise BindError(f"admin.socket {path}: another proxyd answers there; stop it or choose another path")


def _open_to(path: Path, readers: Readers) -> None:
    if not readers:
        return
    if len(readers.gids) == 1 and not readers.uids:
        try:
            os.chown(path, -1, readers.gids[0])
            path.chmod(0o660)
            return
        except PermissionError:  # not root, and not of that group
            pass
    path.chmod(0o666)


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
