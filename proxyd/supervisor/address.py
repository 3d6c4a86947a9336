"""Addresses to listen on: ``host:port``, ``[v6]:port`` or ``unix:/path``."""

import socket
from dataclasses import dataclass
from typing import Any, Final

UNIX: Final = "unix:"


@dataclass(frozen=True, slots=True)
class Address:
    """One address as the socket calls take it."""

    family: int
    sockaddr: Any
    """``(host, port[, flow, scope])`` or a path."""

    @property
    def is_chosen_by_kernel(self) -> bool:
        """Whether the port is 0: every bind gives another one."""
        return self.family != socket.AF_UNIX and self.sockaddr[1] == 0


def parse_address(text: str) -> Address:
    """Parse an address; names are not resolved, but for localhost. ValueError says what is wrong."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path.startswith("/") or "\0" in path:
            raise ValueError("a Unix socket needs an absolute path")
        return Address(socket.AF_UNIX, path)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port with a port from 0 to 65535, or unix:/path")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address goes in brackets")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        found = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    except OSError:
        found = []
    if not host or not found:
        raise ValueError("the host must be an IP address of this machine")
    return Address(found[0][0], found[0][4])


def address_of(sock: socket.socket) -> Address:
    """Return what ``sock`` is bound to."""
    return Address(sock.family, sock.getsockname())


def text_of(address: Address) -> str:
    """Return the written form."""
    if address.family == socket.AF_UNIX:
        path = address.sockaddr
        return UNIX + (path if isinstance(path, str) else path.decode(errors="backslashreplace"))
    host, port = address.sockaddr[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
