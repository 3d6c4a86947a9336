"""Sockets that systemd (or whoever started us) holds open for us: sd_listen_fds(3)."""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

from proxyd.supervisor.address import Address, address_of
from proxyd.supervisor.notice import say

_FIRST: Final = 3
_MAX_INHERITED: Final = 1024
VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(slots=True)
class Inherited:
    """A listening socket that was open when we started, and its FileDescriptorName."""

    name: str
    address: Address
    sock: socket.socket


def take_inherited(environ: MutableMapping[str, str], *, are_ours: bool = True) -> list[Inherited]:
    """Take over the sockets that LISTEN_FDS passes to this very process.

    The variables are removed, so that no child takes them for its own. Descriptors that do not listen on TCP or a
    Unix stream are closed and said. ``are_ours`` False: an earlier program with our pid has taken them.
    """
    pid, count, names = (environ.pop(variable, "") for variable in VARIABLES)
    if not are_ours or pid != str(os.getpid()) or not count.isdigit():
        return []
    numbers = range(_FIRST, _FIRST + min(int(count), _MAX_INHERITED))
    labels = names.split(":")
    taken = []
    for place, fd in enumerate(numbers):
        name = labels[place] if place < len(labels) else ""
        sock = _listening(fd)
        if sock is None:
            say(f"descriptor {fd} from LISTEN_FDS ({name or 'unnamed'}) is no listening stream socket; closed")
        else:
            taken.append(Inherited(name, address_of(sock), sock))
    return taken


def _listening(fd: int) -> socket.socket | None:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(fd)
        return None
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if sock.family not in families or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        return None
    sock.setblocking(False)
    return sock
