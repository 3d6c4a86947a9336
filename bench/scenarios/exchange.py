"""One plain exchange over a socket that stays open: what the idle and start scenarios need, and no program gives."""

import socket

from bench.origin import Target
from bench.ports import LOOPBACK

PATIENCE = 10.0


def request_bytes(target: Target, key: str | None = None) -> bytes:
    """The head of an absolute-form GET."""
    own = f"X-Api-Key: {key}\r\n" if key else ""
    return f"GET {target.plain_url} HTTP/1.1\r\nHost: {target.plain_authority}\r\n{own}\r\n".encode()


def dial(port: int) -> socket.socket:
    """A connection to ``port`` of the loopback address; the caller closes it."""
    return socket.create_connection((LOOPBACK, port), timeout=PATIENCE)


def exchange(connection: socket.socket, request: bytes) -> int:
    """Send, read one whole answer that has a Content-Length; its status, or 0 where the peer closed first."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return 0
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    missing = _content_length(head) - len(body)
    while missing > 0:
        piece = connection.recv(65536)
        if not piece:
            return 0
        missing -= len(piece)
    return int(head.split(b" ", 2)[1])


def upgrade_bytes(target: Target) -> bytes:
    """The head of an absolute-form request for a WebSocket."""
    fields = f"Host: {target.plain_authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    handshake = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    return f"GET {target.plain_url} HTTP/1.1\r\n{fields}{handshake}\r\n".encode()


def switch(connection: socket.socket, request: bytes) -> int:
    """Send a request for an upgrade, and bytes that are echoed once it was granted; its status, or 0."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return 0
        received += piece
    status = int(received.split(b" ", 2)[1])
    if status == 101:
        connection.sendall(b"hello")
        if connection.recv(5, socket.MSG_WAITALL) != b"hello":
            return 0
    return status


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0
