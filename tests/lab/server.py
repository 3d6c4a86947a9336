"""An HTTP/1.1 origin in a process of its own: a thread per connection, bodies streamed, every head recorded as it came.

Run as ``python -m tests.lab.server``: settings are one JSON line on standard input, the ports one JSON line on
standard output, and the end of standard input ends the process, so that it never outlives its test.
"""

import hashlib
import io
import itertools
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

BLOCK = 256 * 1024
MAX_HEAD_BYTES = 256 * 1024
IDLE_SECONDS = 120

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Demand:
    """The credential that a door asks for: a field and its exact value."""

    name: str
    value: str

    def is_met(self, request: "Request") -> bool:
        return [value for key, value in request.headers if key == self.name.lower()] == [self.value]


class Recorder:
    """Appends to the ledger; one write per line, so that threads never interleave."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, **record: object) -> None:
        os.write(self._descriptor, json.dumps(record).encode() + b"\n")


class Request:
    """One head, parsed leniently (a fake must be able to see what the proxy let through), and its body to pull."""

    def __init__(self, head: bytes, connection: "Connection", sequence: int) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = [*lines[0].split(" ", 2), "", ""][:3]
        pairs = (line.partition(":") for line in lines[1:] if line)
        self.headers: Fields = [(name.lower(), value.strip()) for name, _, value in pairs]
        path, _, query = self.target.partition("?")
        self.path = unquote(path)
        self.query = dict(parse_qsl(query))
        self.raw_query = query
        self.trailers: Fields = []
        self.body_ended = False
        self._connection = connection
        self._sequence = sequence

    def value(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def body(self) -> Iterator[bytes]:
        """Yield the body, decoded, in blocks; records its length and digest at its end."""
        if self.body_ended:
            return
        if "100-continue" in self.value("expect").lower():
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest, length = hashlib.sha256(), 0
        for block in self._blocks():
            digest.update(block)
            length += len(block)
            yield block
        self.body_ended = True
        self.body_bytes, self.body_sha256 = length, digest.hexdigest()
        if length or self.trailers:
            self._connection.record(
                self._sequence, body_bytes=length, body_sha256=self.body_sha256, trailers=self.trailers
            )

    def drain(self) -> None:
        for _ in self.body():
            pass

    def _blocks(self) -> Iterator[bytes]:
        reader = self._connection.reader
        if self.value("transfer-encoding").lower() == "chunked":
            while size := int(reader.readline().split(b";")[0], 16):
                yield from exactly(reader.read1, size)
                reader.readline()
            while (line := reader.readline().decode("latin-1").rstrip("\r\n")) != "":
                name, _, text = line.partition(":")
                self.trailers.append((name.lower(), text.strip()))
        elif length := int(self.value("content-length") or 0):
            yield from exactly(reader.read1, length)


def exactly(read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
    """Yield blocks that sum to ``length``; ConnectionError if the end comes earlier."""
    while length:
        block = read(min(length, BLOCK))
        if not block:
            raise ConnectionError("the body ended early")
        length -= len(block)
        yield block


class Connection:
    """One accepted connection: reads heads, asks for the credential, hands requests to the site."""

    def __init__(self, sock: socket.socket, number: int, door: str, sni: str | None, recorder: Recorder) -> None:
        self.sock = sock
        self.reader = io.BufferedReader(socket.SocketIO(sock, "r"), BLOCK)
        self.keep = True
        """False: close after the response that is being sent."""
        self._number = number
        self._door = door
        self._sni = sni
        self._recorder = recorder

    def serve(self, demand: Demand | None, site: Callable[["Connection", Request], None]) -> None:
        """Answer requests until either side has had enough."""
        for sequence in itertools.count():
            head = self._read_head()
            if head is None:
                return
            request = Request(head, self, sequence)
            authorised = demand is None or demand.is_met(request) or request.path.startswith("/open/")
            self.record(sequence, door=self._door, sni=self._sni, head=head.decode("latin-1"), authorised=authorised)
            self.keep = request.version == "HTTP/1.1" and "close" not in request.value("connection").lower()
            if authorised:
                site(self, request)
            else:
                request.drain()
                self.reply(401, [("www-authenticate", 'Bearer realm="lab"')], b'{"error": "no credential"}\n')
            if not self.keep:
                return
            request.drain()

    def record(self, sequence: int, **record: object) -> None:
        self._recorder.write(connection=self._number, sequence=sequence, **record)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def start(self, status: int, fields: Fields) -> None:
        """Send a head. ``connection: close`` is added when it is due."""
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
        if not self.keep:
            fields = [*fields, ("connection", "close")]
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in fields), "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def reply(self, status: int, fields: Fields, body: bytes, *, head_only: bool = False) -> None:
        self.start(status, [*fields, ("content-length", str(len(body)))])
        if body and not head_only:
            self.send(body)

    def json(self, status: int, value: object, fields: Fields | None = None) -> None:
        body = json.dumps(value).encode() + b"\n"
        self.reply(status, [("content-type", "application/json"), *(fields or [])], body)

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def _read_head(self) -> bytes | None:
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            line = self.reader.readline(MAX_HEAD_BYTES)
            if not line or len(head) > MAX_HEAD_BYTES:
                return None
            head += line
        return bytes(head)


class Door:
    """One listening socket of the origin, plain or TLS, and the credential that it demands."""

    def __init__(self, name: str, context: ssl.SSLContext | None, demand: Demand | None) -> None:
        self.name = name
        self._context = context
        self._demand = demand
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._names: dict[int, str | None] = {}
        if context is not None:
            context.sni_callback = self._note_sni

    def _note_sni(self, tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        self._names[threading.get_ident()] = name

    def serve(self, site: Callable[[Connection, Request], None], recorder: Recorder, numbers: Iterator[int]) -> None:
        while True:
            sock, _ = self._listener.accept()
            arguments = (sock, next(numbers), site, recorder)
            threading.Thread(target=self._serve_one, args=arguments, daemon=True).start()

    def _serve_one(self, sock: socket.socket, number: int, site: Any, recorder: Recorder) -> None:
        sock.settimeout(IDLE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            sni = self._names.pop(threading.get_ident(), None)
            Connection(sock, number, self.name, sni, recorder).serve(self._demand, site)
        except (OSError, ValueError):
            pass  # the peer went away or spoke nonsense: what arrived is in the ledger
        finally:
            sock.close()


def main() -> None:
    """Serve until standard input ends."""
    from tests.lab.site import Site

    settings = json.loads(sys.stdin.readline())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    context.set_alpn_protocols(["http/1.1"])
    demands = {door: Demand(*pair) for door, pair in settings["demands"].items()}
    doors = [Door("https", context, demands.get("https")), Door("http", None, demands.get("http"))]
    recorder, numbers, site = Recorder(Path(settings["ledger"])), itertools.count(), Site(Path(settings["content"]))
    for door in doors:
        threading.Thread(target=door.serve, args=(site, recorder, numbers), daemon=True).start()
    print(json.dumps({door.name: door.port for door in doors}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
