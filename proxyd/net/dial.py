"""Dialling: happy eyeballs (RFC 8305) over non-blocking sockets.

One task does it all. Several attempts are watched through one epoll set, which is itself a descriptor that trio can
wait for: no nursery, no task per attempt, and one ``finally`` that closes every socket but the winner.
"""

import errno
import os
import select
import socket
from collections.abc import Sequence
from typing import Final

import trio

from proxyd.core.errors import Flag, ProxyError, Retry, Side
from proxyd.core.service import UNIX, written
from proxyd.core.units import MILLISECOND

STAGGER_SECONDS: Final = 250 * MILLISECOND
"""Before the next address is tried beside those on their way (RFC 8305 §5, Connection Attempt Delay)."""

KEEPALIVE_IDLE: Final = 60
KEEPALIVE_INTERVAL: Final = 15
KEEPALIVE_PROBES: Final = 4
"""A silent peer is found dead after 60 + 4 x 15 seconds."""

Target = tuple[str, int]
"""IP address and port; of a Unix socket ``unix:PATH`` and 0."""

_PENDING: Final = frozenset((errno.EINPROGRESS, errno.EALREADY, errno.EINTR))
_CONNECTED: Final = frozenset((0, errno.EISCONN))

_KINDS: Final = {
    errno.ECONNREFUSED: (502, "connection_refused"),
    errno.ETIMEDOUT: (504, "connection_timeout"),
    errno.ENETUNREACH: (502, "destination_ip_unroutable"),
    errno.EHOSTUNREACH: (502, "destination_ip_unroutable"),
    errno.ENETDOWN: (502, "destination_ip_unroutable"),
    errno.EHOSTDOWN: (502, "destination_ip_unroutable"),
    errno.EAFNOSUPPORT: (502, "destination_ip_unroutable"),
    errno.EADDRNOTAVAIL: (502, "destination_ip_unroutable"),
    errno.EINVAL: (502, "destination_ip_unroutable"),
    errno.EACCES: (502, "destination_ip_unroutable"),
    errno.EPERM: (502, "destination_ip_unroutable"),
    errno.EMFILE: (503, "connection_limit_reached"),
    errno.ENFILE: (503, "connection_limit_reached"),
    errno.ENOBUFS: (503, "connection_limit_reached"),
    errno.ENOMEM: (503, "connection_limit_reached"),
    errno.EAGAIN: (503, "connection_limit_reached"),  # connect(2): no free local port
}
"""Status and RFC 9209 error type; anything else ended the handshake."""


async def dial(addresses: Sequence[Target], timeout: float) -> socket.socket:
    """Connect to the first of ``addresses`` that answers and return its socket, non-blocking, TCP_NODELAY set.

    The caller owns the socket. Nothing is left open on failure or cancellation. A connection that is there at once
    does not checkpoint. ``timeout`` is in seconds for all addresses together. ProxyError says how the first address
    failed, or that the time was over; nothing was sent, so any method may be tried again.
    """
    deadline = trio.current_time() + timeout
    if len(addresses) == 1:
        return await _dial_one(addresses[0], timeout, deadline)
    if not addresses:
        raise ValueError("no address to dial")
    try:
        race = _Race(addresses, timeout, deadline)
    except OSError as error:
        raise _failed(addresses[0], error.errno or errno.EMFILE) from error
    try:
        return await race.run()
    finally:
        race.close()


async def _dial_one(target: Target, timeout: float, deadline: float) -> socket.socket:
    sock, code = _start(target)
    if sock is None:
        raise _failed(target, code)
    if code == 0:
        return sock
    try:
        with trio.CancelScope(deadline=deadline):
            await trio.lowlevel.wait_writable(sock)
            code = _outcome(sock)
            if code:
                raise _failed(target, code)
            return sock
        raise _late((target,), timeout)
    except BaseException:
        sock.close()
        raise


class _Race:
    """The attempts of one dial: those on their way in one epoll set, those still to start in order."""

    def __init__(self, addresses: Sequence[Target], timeout: float, deadline: float) -> None:
        self._addresses = addresses
        self._timeout = timeout
        self._deadline = deadline
        self._started = 0
        self._running: dict[int, tuple[socket.socket, Target]] = {}
        self._failure: ProxyError | None = None
        self._poll = select.epoll()

    def close(self) -> None:
        """Close the losers."""
        for sock, _ in self._running.values():
            sock.close()
        self._poll.close()

    async def run(self) -> socket.socket:
        """Return the winner, which is no longer the race's."""
        next_start = trio.current_time()
        while True:
            waiting = self._started < len(self._addresses)
            if waiting and (not self._running or trio.current_time() >= next_start):
                winner = self._start_next()
                if winner is not None:
                    return winner
                next_start = trio.current_time() + STAGGER_SECONDS
                continue
            if not self._running:
                assert self._failure is not None
                raise self._failure
            with trio.CancelScope(deadline=min(self._deadline, next_start) if waiting else self._deadline):
                await trio.lowlevel.wait_readable(self._poll.fileno())
            running = len(self._running)
            winner = self._harvest()
            if winner is not None:
                return winner
            if len(self._running) < running:
                next_start = 0.0  # RFC 8305 §5: after a failure the next one starts at once
            elif trio.current_time() >= self._deadline:
                raise _late(self._addresses, self._timeout)

    def _start_next(self) -> socket.socket | None:
        target = self._addresses[self._started]
        self._started += 1
        sock, code = _start(target)
        if sock is None:
            self._fail(target, code)
            return None
        if code == 0:
            return sock
        self._running[sock.fileno()] = (sock, target)
        self._poll.register(sock, select.EPOLLOUT)
        return None

    def _harvest(self) -> socket.socket | None:
        for fd, _ in self._poll.poll(0):
            sock, target = self._running.pop(fd)
            self._poll.unregister(fd)
            code = _outcome(sock)
            if not code:
                return sock
            sock.close()
            self._fail(target, code)
        return None

    def _fail(self, target: Target, code: int) -> None:
        if self._failure is None:
            self._failure = _failed(target, code)


def _start(target: Target) -> tuple[socket.socket | None, int]:
    """Open a socket and begin to connect; return it with 0 or a pending code, or None with the error."""
    if target[0].startswith(UNIX):
        return _start_unix(target[0].removeprefix(UNIX))
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    socket.inet_pton(family, target[0])  # connect would look a name up, and block
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    except OSError as error:
        return None, error.errno or errno.EMFILE
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        code = sock.connect_ex(target)
        if code in _PENDING:
            # On loopback the handshake is over once the first call let go of the socket: ask again before waiting.
            code = sock.connect_ex(target)
        if code in _CONNECTED:
            code = _outcome(sock)
    except BaseException:
        sock.close()
        raise
    if code == 0 or code in _PENDING:
        return sock, code
    sock.close()
    return None, code


def _start_unix(path: str) -> tuple[socket.socket | None, int]:
    """Connect to a Unix socket, which is done at once or fails; EAGAIN: its queue is full."""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        return None, error.errno or errno.EMFILE
    code = sock.connect_ex(path)
    if code == 0:
        return sock, 0
    sock.close()
    return None, errno.ECONNREFUSED if code in (errno.EAGAIN, errno.ENOENT) else code


def _outcome(sock: socket.socket) -> int:
    """Return 0 or the error number that ended the handshake."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        return code
    try:
        itself = sock.getsockname() == sock.getpeername()
    except OSError as error:  # reset since
        return error.errno or errno.ECONNRESET
    # RFC 9293 §3.5, simultaneous open: nobody listens, and the kernel chose the very port that is dialled.
    return errno.ECONNREFUSED if itself else 0


def _failed(target: Target, code: int) -> ProxyError:
    status, kind = _KINDS.get(code, (502, "connection_terminated"))
    if code == errno.EADDRNOTAVAIL and ":" not in target[0]:
        status, kind = 503, "connection_limit_reached"  # on IPv4 it means that no local port is free
    side = Side.PROXYD if status == 503 else Side.UPSTREAM
    detail = f"connecting to {_text(target)} failed: {os.strerror(code)}"
    return ProxyError(status, Flag.UPSTREAM_CONNECT, kind, detail, side=side, retry=Retry.ALWAYS)


def _late(targets: Sequence[Target], timeout: float) -> ProxyError:
    others = f" and {len(targets) - 1} other addresses" if len(targets) > 1 else ""
    detail = f"connecting to {_text(targets[0])}{others} took longer than {timeout:g} s"
    return ProxyError(504, Flag.UPSTREAM_CONNECT, "connection_timeout", detail, side=Side.UPSTREAM, retry=Retry.ALWAYS)


def _text(target: Target) -> str:
    return written(*target)
