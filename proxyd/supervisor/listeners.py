"""The listening sockets: bound once, held for as long as some configuration names them."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxyd.net.framing import MAX_FDS
from proxyd.supervisor.activation import Inherited
from proxyd.supervisor.address import Address, address_of, parse_address, text_of

BACKLOG: Final = 4096
"""Connections that wait while a worker is replaced; the kernel caps it at net.core.somaxconn."""
SOCKET_MODE: Final = 0o600
LOCK_SECONDS: Final = 1.0
"""What another proxyd that binds in the same folder is waited for."""

_HINTS: Final = {
    errno.EADDRINUSE: "another process listens there (`ss -lnp` says which); stop it, or change the address",
    errno.EADDRNOTAVAIL: "no interface of this machine has the address",
    errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE, a socket needs a writable folder",
    errno.ENOENT: "the folder does not exist",
}


class BindError(Exception):
    """An address cannot be listened on; the text is for the person who wrote the configuration."""


@dataclass(slots=True)
class Listening:
    """One listening socket."""

    name: str
    configured: str
    sock: socket.socket
    inherited: Inherited | None = None
    """Where it came from when it was not bound here; such a socket is never closed before the end."""
    inode: tuple[int, int] | None = None
    """Device and inode of a Unix socket that was made here, so that no other's is removed."""

    @property
    def actual(self) -> str:
        """The address as bound: the kernel's choice for port 0."""
        return text_of(address_of(self.sock))

    def close(self) -> None:
        """Close the socket and remove the path that it made."""
        if self.inode is not None:
            with contextlib.suppress(OSError):
                path = address_of(self.sock).sockaddr
                if _inode(path) == self.inode:
                    os.unlink(path)
        self.sock.close()


class Listeners:
    """All listening sockets, and those inherited that no listener has claimed yet."""

    def __init__(self, inherited: Sequence[Inherited] = (), listening: Sequence[Listening] = ()) -> None:
        """``listening`` is what another process of ours has bound already."""
        self._listening = list(listening)
        self._unclaimed = list(inherited)

    @property
    def listening(self) -> tuple[Listening, ...]:
        """What is listened on."""
        return tuple(self._listening)

    @property
    def unclaimed(self) -> tuple[Inherited, ...]:
        """What was inherited and belongs to no listener."""
        return tuple(self._unclaimed)

    def change(self, wanted: Sequence[tuple[str, str]]) -> list[Listening]:
        """Listen on exactly these (name, address); return them in the same order.

        What is listened on already stays as it is, queued connections included. BindError leaves everything as it
        was.
        """
        if len(wanted) > MAX_FDS:
            raise BindError(f"{len(wanted)} listeners, at most {MAX_FDS} are possible")
        if len({name for name, _ in wanted}) != len(wanted):
            raise BindError("two listeners have the same name")
        kept = self._kept(wanted)
        unclaimed = list(self._unclaimed)
        made: list[Listening] = []
        try:
            for name, address in wanted:
                if name not in kept:
                    kept[name] = _listen(name, address, unclaimed)
                    made.append(kept[name])
        except BindError:
            for listening in made:
                if listening.inherited is None:
                    listening.close()
            raise
        self._unclaimed = unclaimed
        self._replace(list(kept.values()))
        for name, address in wanted:
            kept[name].name, kept[name].configured = name, address
        return [kept[name] for name, _ in wanted]

    def close(self) -> None:
        """Stop holding sockets; those inherited live on with whoever gave them."""
        for listening in self._listening:
            listening.close()
        for inherited in self._unclaimed:
            inherited.sock.close()
        self._listening, self._unclaimed = [], []

    def abandon(self) -> None:
        """Close this process's copies only, in a forked child."""
        for listening in self._listening:
            listening.sock.close()
        for inherited in self._unclaimed:
            inherited.sock.close()

    def _kept(self, wanted: Sequence[tuple[str, str]]) -> dict[str, Listening]:
        """Find the sockets that stay: the same name and address first, then the same address under another name."""
        free = list(self._listening)
        kept: dict[str, Listening] = {}
        for by_name in (True, False):
            for name, address in wanted:
                if name in kept:
                    continue
                for listening in free:
                    if listening.configured != address or (by_name and listening.name != name):
                        continue
                    if not by_name and _is_chosen_by_kernel(address):
                        continue
                    kept[name] = listening
                    free.remove(listening)
                    break
        return kept

    def _replace(self, listening: list[Listening]) -> None:
        for old in self._listening:
            if old in listening:
                continue
            if old.inherited is None:
                old.close()
            else:
                self._unclaimed.append(old.inherited)
        self._listening = listening


def _is_chosen_by_kernel(address: str) -> bool:
    return parse_address(address).is_chosen_by_kernel


def _listen(name: str, text: str, unclaimed: list[Inherited]) -> Listening:
    try:
        address = parse_address(text)
    except ValueError as error:
        raise BindError(f"listener {name}: {text}: {error}") from None
    inherited = _claim(name, address, unclaimed)
    if inherited is not None:
        return Listening(name, text, inherited.sock, inherited)
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if address.family == socket.AF_UNIX:
            with _folder_locked(address.sockaddr):
                _bind(sock, address)
                sock.listen(BACKLOG)
                return Listening(name, text, sock, inode=_inode(address.sockaddr))
        _bind(sock, address)
        sock.listen(BACKLOG)
        return Listening(name, text, sock)
    except OSError as error:
        sock.close()
        hint = _HINTS.get(error.errno or 0, error.strerror or str(error))
        raise BindError(f"listener {name}: cannot listen on {text}: {hint}") from None


def _claim(name: str, address: Address, unclaimed: list[Inherited]) -> Inherited | None:
    """Match by both, else by name, else by address; take what matches out of ``unclaimed``."""
    matches = sorted(
        (one for one in unclaimed if one.name == name or one.address == address),
        key=lambda one: (one.name == name) + (one.address == address) * 0.5,
        reverse=True,
    )
    if not matches:
        return None
    unclaimed.remove(matches[0])
    return matches[0]


def _bind(sock: socket.socket, address: Address) -> None:
    if address.family == socket.AF_UNIX:
        _remove_stale(address.sockaddr)
        former = os.umask(0o777 & ~SOCKET_MODE)  # no moment at which others may connect
        try:
            sock.bind(address.sockaddr)
        finally:
            os.umask(former)
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # [::] and 0.0.0.0 are two listeners
    sock.bind(address.sockaddr)


@contextlib.contextmanager
def _folder_locked(path: str) -> Iterator[None]:
    """Keep other proxyds from the folder of ``path``: a socket that is bound and does not listen yet looks stale."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OSError(errno.EBUSY, "another process holds a lock on the folder") from None
                time.sleep(0.01)  # noqa: TID251 - for the moment of another bind, LOCK_SECONDS at most
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: str) -> None:
    """Remove a socket at ``path`` that nobody listens on any more; anything else there is EADDRINUSE."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "the path exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if _inode(path) == (found.st_dev, found.st_ino):
                os.unlink(path)
                return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "in use")


def _inode(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino
