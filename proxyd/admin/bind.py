"""The admin addresses: bound at once, so that a mistake is told before anything is served."""

import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BACKLOG: Final = 64
PATH_BYTES: Final = 107
"""sun_path of unix(7), its NUL left out."""
PROBE_SECONDS: Final = 1.0


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

    def close(self) -> None:
        """Stop listening; remove the file unless it is somebody else's by now."""
        self.sock.close()
        with contextlib.suppress(FileNotFoundError):
            if _inode(self.path) == self.inode:
                self.path.unlink()


def bind_unix(path: Path) -> UnixListener:
    """Listen on ``path`` (mode 0600). A socket that nobody answers on is replaced; BindError for anything else."""
    if len(os.fsencode(path)) > PATH_BYTES:
        raise BindError(f"admin.socket {path}: longer than {PATH_BYTES} bytes; choose a shorter path")
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
        return UnixListener(path, sock, _inode(path))
    except OSError as error:
        sock.close()
        raise BindError(f"admin.socket {path}: {error.strerror}") from error
    finally:
        os.umask(mask)


def bind_http(address: str) -> socket.socket:
    """Listen on ``host:port``; BindError says why it is not possible."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((host, int(port)))
        sock.listen(BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        sock.close()
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BindError(f"admin.http {address}: {why}") from error
    return sock


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


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
