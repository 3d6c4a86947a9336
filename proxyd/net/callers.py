"""Who is at the other end of a local connection: SO_PEERCRED for Unix sockets, sock_diag for TCP.

Best effort. A TCP caller's uid is that of its socket's creator, asked of the kernel while the connection stands;
it is None for callers of another machine or network namespace, and once the caller has closed.
"""

import os
import socket
import struct
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_ANY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = b"\xff" * 8

_REQUEST: Final = struct.Struct("=IHHII BBBxI 2s2s16s16sI8s")
"""nlmsghdr, inet_diag_req_v2 (linux/inet_diag.h); ports and addresses in network order."""

_ANSWER: Final = struct.Struct("=IHHII BBBB 2s2s16s16sI8s IIIII")
"""nlmsghdr, inet_diag_msg."""

_OPEN_STATES: Final = frozenset((1, 4, 5, 8))
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT: a TIME_WAIT socket has no owner and is reported as root's."""

_CREDENTIALS: Final = struct.Struct("=iII")
_NOBODY: Final = 0xFFFFFFFF

_MAPPED: Final = "::ffff:"
_MAPPED_PREFIX: Final = b"\0" * 10 + b"\xff\xff"


def tcp_uid(sock: socket.socket) -> int | None:
    """Return the uid of the local process at the other end of the accepted TCP connection ``sock``, or None.

    One exchange with the kernel, which answers while it is asked: it never waits and never raises.
    """
    try:
        client, server = sock.getpeername(), sock.getsockname()
        return find_uid((client[0], client[1]), (server[0], server[1]))
    except (OSError, IndexError, TypeError):  # gone since, or no TCP socket
        return None


def find_uid(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the uid that owns the socket bound to ``client`` and connected to ``server``, or None."""
    try:
        family, source, sport = _endpoint(client)
        peers_family, destination, dport = _endpoint(server)
        if family != peers_family:
            return None
        request = _REQUEST.pack(
            _REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0,
            family, socket.IPPROTO_TCP, 0, _ANY_STATE,
            sport, dport, source, destination, 0, _NO_COOKIE,
        )  # fmt: skip
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG) as link:
            link.sendto(request, (0, 0))
            answer = link.recv(4096)
    except (OSError, ValueError, struct.error):
        return None
    if len(answer) < _ANSWER.size:  # NLMSG_ERROR: no such socket
        return None
    fields = _ANSWER.unpack_from(answer)
    state, inode, uid = int(fields[6]), int(fields[19]), int(fields[18])
    # Where no connection fits, the kernel looks for a listener at the client's address: that is somebody else.
    # A caller's IPv6 socket may hold the IPv4 connection (Java's always do); it is reported with mapped addresses.
    ends = {(sport, dport, source, destination)}
    if family == socket.AF_INET:
        ends.add((sport, dport, _MAPPED_PREFIX + source[:4], _MAPPED_PREFIX + destination[:4]))
    if fields[1] != _SOCK_DIAG_BY_FAMILY or fields[9:13] not in ends:
        return None
    return uid if state in _OPEN_STATES and inode else None  # no inode: closed by its owner, then reported as root's


def unix_peer(sock: socket.socket) -> tuple[int, int, int] | None:
    """Return (uid, gid, pid) of the process that connected the Unix socket ``sock``, or None."""
    try:
        pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except (OSError, struct.error):
        return None
    return None if uid == _NOBODY else (uid, gid, pid)


def executable(pid: int) -> str | None:
    """Return the path of the program that runs as ``pid`` now, or None where the kernel does not tell.

    A hint for people who read logs and never a proof: the process that connected may have ended or executed another
    program since, and other users' processes are told to root alone.
    """
    try:
        return os.fsencode(os.readlink(f"/proc/{pid}/exe")).decode("utf-8", "backslashreplace")
    except OSError:
        return None


def _endpoint(address: tuple[str, int]) -> tuple[int, bytes, bytes]:
    """Return family, address in 16 bytes, port. A mapped address is the IPv4 socket that it stands for."""
    host, port = address
    host = host.partition("%")[0]
    if host.startswith(_MAPPED) and "." in host:
        host = host.removeprefix(_MAPPED)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return int(family), socket.inet_pton(family, host).ljust(16, b"\0"), struct.pack("!H", port)
