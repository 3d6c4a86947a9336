"""One HTTP/2 exchange over a socket that stays open; only as much of the protocol as that takes."""

import socket
from urllib.parse import urlsplit

DATA, HEADERS, SETTINGS, GOAWAY, RST_STREAM = 0, 1, 4, 7, 3
ENDED, ACK, WHOLE = 0x1, 0x1, 0x4
STREAM = 1
STATIC_STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def opening_bytes(url: str) -> bytes:
    """Preface, SETTINGS, and a GET of ``url`` on the first stream; its fields are literals without names in tables."""
    parts = urlsplit(url)
    fields = {":method": "GET", ":scheme": parts.scheme, ":authority": parts.netloc, ":path": parts.path}
    block = b"".join(b"\x10" + _text(name) + _text(value) for name, value in fields.items())
    head = frame(HEADERS, WHOLE | ENDED, STREAM, block)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + head


def answered(connection: socket.socket, opening: bytes) -> int:
    """Send, and read until the stream has ended; its status (of the static table), or 0 where it did not end well."""
    connection.sendall(opening)
    with connection.makefile("rb", buffering=0) as reader:
        status = 0
        while True:
            head = _exactly(reader, 9)
            payload = _exactly(reader, int.from_bytes(head[:3], "big")) if head else b""
            kind, flags = (head[3], head[4]) if head else (GOAWAY, 0)
            if kind in {GOAWAY, RST_STREAM}:
                return 0
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK, 0))
            if kind == HEADERS and not status:
                status = _status(payload)
            if kind in {DATA, HEADERS} and flags & ENDED:
                return status


def _text(value: str) -> bytes:
    return bytes((len(value),)) + value.encode()  # below 127 bytes, not Huffman coded


def _status(block: bytes) -> int:
    """The status that ``block`` begins with, after changes of the dynamic table's size."""
    octets = iter(block)
    for octet in octets:
        if octet & 0xE0 != 0x20:
            return STATIC_STATUSES.get(octet, 0)
        more = octet == 0x3F  # RFC 7541 §5.1: the integer goes on until an octet without its first bit
        while more:
            more = next(octets, 0) >= 0x80
    return 0


def _exactly(reader: "socket.SocketIO", size: int) -> bytes:
    """``size`` bytes, or none where the peer closed first."""
    received = b""
    while len(received) < size:
        piece = reader.read(size - len(received))
        if not piece:
            return b""
        received += piece
    return received
