"""A blocking client of the admin socket: standard library and msgpack, so that ``status`` starts in no time."""

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import msgpack

from proxyd.cli.exits import UNREACHABLE, CommandError

CALL_SECONDS: Final = 75.0
"""Longer than the daemon gives a call."""
ROOT: Final = 0
ANSWER_BYTES: Final = 64 * 1024 * 1024

_START: Final = "start it (proxyd run -c FILE, systemctl start proxyd), or name its socket with --admin or PROXYD_ADMIN"
_NOT_SERVED: Final = "run this as the daemon's user or root, or see `admin:` in the configuration for other readers"
_EXPLAINED: Final = {
    errno.ENOENT: ("there is no such socket", _START),
    errno.ECONNREFUSED: ("the socket is there and nobody listens, so the daemon has ended", _START),
    errno.EACCES: (f"uid {os.geteuid()} may not open the socket", _NOT_SERVED),
    errno.ECONNRESET: (f"it does not serve uid {os.geteuid()}, or too many ask at once", _NOT_SERVED),
    errno.EPIPE: (f"it does not serve uid {os.geteuid()}, or too many ask at once", _NOT_SERVED),
}
_ENDED: Final = ("it has ended the connection: the daemon stops or starts again", "see its log, and try again")

_UCRED: Final = struct.Struct("3i")


class Unreachable(CommandError):
    """Nobody answers on the admin socket."""

    def __init__(self, path: Path, why: str, todo: str = "is proxyd running? proxyd doctor looks at it") -> None:
        super().__init__(f"no daemon answers on {path}: {why}; {todo}", UNREACHABLE)


class CallError(CommandError):
    """The daemon refused a call."""

    def __init__(self, method: str, error: Any) -> None:
        fields = error if isinstance(error, dict) else {}
        text = f"{method}: {fields.get('message', 'refused')}"
        if "nearest" in fields:
            text += f"; did you mean {fields['nearest']}?"
        super().__init__(text)
        self.reason = str(fields.get("code", ""))
        """For programs: ``not_found``, ``forbidden``; docs/admin-socket.md lists them."""


class Connection:
    """One connection, for several calls and for what was subscribed to. Use as a context manager.

    ``any_owner`` False refuses a daemon that runs as neither root nor this user: whoever is asked for a proxy gets
    to see traffic. Root asks the service, which has a user of its own: nobody else places a socket in root's folder.
    Unreachable when nobody answers.
    """

    def __init__(self, path: Path, *, any_owner: bool = True, seconds: float = CALL_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._unpacker = msgpack.Unpacker(max_buffer_size=ANSWER_BYTES, strict_map_key=False)
        self._told: deque[tuple[str, list[Any]]] = deque()
        self._number = 0
        self._answered = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(os.fspath(path))
            if not any_owner:
                _check_owner(self._socket, path)
        except OSError as error:
            self._socket.close()
            raise Unreachable(path, *_explained(error)) from None
        except CommandError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str, *params: object) -> Any:
        """Make one call and return its result; Unreachable or CallError."""
        self._number += 1
        try:
            self._socket.settimeout(self._seconds)
            self._socket.sendall(msgpack.packb([0, self._number, method, list(params)]))
        except OSError as error:
            raise Unreachable(self._path, *_explained(error)) from None
        while True:
            match self._next():
                case [1, self._number, error, result]:
                    self._answered = True
                    if error is not None:
                        raise CallError(method, error)
                    return result
                case [2, str(name), list(told)]:
                    self._told.append((name, told))
                case _:
                    raise self._foreign()

    def notifications(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield what was subscribed to, as (method, params), as it comes; Unreachable when the daemon ends."""
        self._socket.settimeout(None)
        while True:
            while self._told:
                yield self._told.popleft()
            match self._next():
                case [2, str(name), list(told)]:
                    self._told.append((name, told))
                case _:
                    raise self._foreign()

    def _next(self) -> Any:
        try:
            while True:
                for message in self._unpacker:
                    return message
                data = self._socket.recv(256 * 1024)
                if not data:
                    raise Unreachable(self._path, *(_ENDED if self._answered else _EXPLAINED[errno.ECONNRESET]))
                self._unpacker.feed(data)
        except TimeoutError:
            raise Unreachable(self._path, f"no answer in {self._seconds:.0f} s") from None
        except OSError as error:
            raise Unreachable(self._path, *_explained(error)) from None
        except (ValueError, TypeError, msgpack.BufferFull):
            raise self._foreign() from None

    def _foreign(self) -> CommandError:
        return CommandError(f"{self._path}: what answers there does not speak MessagePack-RPC", UNREACHABLE)


def call(path: Path, method: str, *params: object, any_owner: bool = True, seconds: float = CALL_SECONDS) -> Any:
    """Make one call on a connection of its own and return its result; Unreachable or CallError."""
    with Connection(path, any_owner=any_owner, seconds=seconds) as connection:
        return connection.call(method, *params)


def _explained(error: OSError) -> tuple[str, str]:
    """Return what happened, and what to do, in a person's words."""
    return _EXPLAINED.get(error.errno or 0, (error.strerror or str(error), "proxyd doctor looks at it"))


def _check_owner(sock: socket.socket, path: Path) -> None:
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid not in (ROOT, os.geteuid()) and os.geteuid() != ROOT:
        raise CommandError(f"{path}: the daemon there runs as uid {uid}, neither root nor you; use --admin to trust it")
