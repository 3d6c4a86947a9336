"""A blocking client of the admin socket: standard library and msgpack, so that ``status`` starts in no time."""

import os
import socket
import struct
from pathlib import Path
from typing import Any, Final

import msgpack

from proxyd.cli.exits import UNREACHABLE, CommandError

CALL_SECONDS: Final = 75.0
"""Longer than the daemon gives a call."""
ROOT: Final = 0
ANSWER_BYTES: Final = 64 * 1024 * 1024

_UCRED: Final = struct.Struct("3i")


class Unreachable(CommandError):
    """Nobody answers on the admin socket."""

    def __init__(self, path: Path, why: str) -> None:
        hint = "is proxyd running? --admin or PROXYD_ADMIN names another socket"
        super().__init__(f"no daemon answers on {path}: {why}; {hint}", UNREACHABLE)


class CallError(CommandError):
    """The daemon refused a call."""

    def __init__(self, method: str, error: Any) -> None:
        fields = error if isinstance(error, dict) else {}
        text = f"{method}: {fields.get('message', 'refused')}"
        if "nearest" in fields:
            text += f"; did you mean {fields['nearest']}?"
        super().__init__(text)


def call(path: Path, method: str, *params: object, any_owner: bool = True, seconds: float = CALL_SECONDS) -> Any:
    """Make one call and return its result; Unreachable or CallError.

    ``any_owner`` False refuses a daemon that runs as neither root nor this user: whoever is asked for a proxy gets
    to see traffic. Root asks the service, which has a user of its own: nobody else places a socket in root's folder.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(seconds)
        try:
            sock.connect(os.fspath(path))
            if not any_owner:
                _check_owner(sock, path)
            sock.sendall(msgpack.packb([0, 1, method, list(params)]))
            return _answer(sock, path, method)
        except TimeoutError:
            raise Unreachable(path, f"no answer in {seconds:.0f} s") from None
        except OSError as error:
            raise Unreachable(path, error.strerror or str(error)) from None


def _answer(sock: socket.socket, path: Path, method: str) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=ANSWER_BYTES, strict_map_key=False)
    try:
        while data := sock.recv(256 * 1024):
            unpacker.feed(data)
            for message in unpacker:
                kind, _, error, result = message
                if kind != 1:
                    raise ValueError("not an answer")
                if error is not None:
                    raise CallError(method, error)
                return result
    except (ValueError, TypeError, msgpack.BufferFull):
        raise CommandError(f"{path}: what answers there does not speak MessagePack-RPC", UNREACHABLE) from None
    raise Unreachable(path, "it closed the connection (it serves its own user and root, 64 connections at most)")


def _check_owner(sock: socket.socket, path: Path) -> None:
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid not in (ROOT, os.geteuid()) and os.geteuid() != ROOT:
        raise CommandError(f"{path}: the daemon there runs as uid {uid}, neither root nor you; use --admin to trust it")
