"""What the origin serves: an API with every shape of message, a git repository, a Python index and an npm registry."""

import base64
import hashlib
import json
import os
import subprocess
import threading
from pathlib import Path

from tests.lab.server import BLOCK, Connection, Request

CLOSE = 8
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ZEROES = bytes(BLOCK)


class Site:
    """Routes one request to its handler by the first path segment after ``/v2`` or ``/open``.

    ``content`` is the folder that tests.lab.packages filled.
    """

    def __init__(self, content: Path) -> None:
        self._content = content

    def __call__(self, connection: Connection, request: Request) -> None:
        segments = request.path.split("/")
        name = segments[2] if len(segments) > 2 and segments[1] in {"v2", "open"} else ""
        handler = getattr(self, "do_" + name.replace("-", "_"), None) if name else None
        if handler is None:
            request.drain()
            connection.json(404, {"error": "no such path", "path": request.path})
            return
        handler(connection, request)

    def do_echo(self, connection: Connection, request: Request) -> None:
        """Say what arrived; the body is hashed and not kept."""
        request.drain()
        if request.method == "HEAD":
            connection.reply(200, [("x-lab", "echo")], b"x" * 100, head_only=True)
            return
        answer = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body_bytes": request.body_bytes,
            "body_sha256": request.body_sha256,
            "trailers": request.trailers,
        }
        connection.json(200, answer)

    def do_bytes(self, connection: Connection, request: Request) -> None:
        """Send ``n`` zero bytes, with a length or (``chunked=1``) in chunks."""
        left = int(request.query["n"])
        chunked = "chunked" in request.query
        framing = ("transfer-encoding", "chunked") if chunked else ("content-length", str(left))
        connection.start(200, [("content-type", "application/octet-stream"), framing])
        send = connection.chunk if chunked else connection.send
        while left:
            block = ZEROES[: min(left, BLOCK)]
            send(block)
            left -= len(block)
        if chunked:
            connection.send(b"0\r\n\r\n")

    def do_trailers(self, connection: Connection, request: Request) -> None:
        connection.start(200, [("transfer-encoding", "chunked"), ("trailer", "x-checksum")])
        connection.chunk(b"hello ")
        connection.chunk(b"trailers\n")
        connection.send(b"0\r\nx-checksum: 42\r\n\r\n")

    def do_hints(self, connection: Connection, request: Request) -> None:
        """Send ``n`` (default 1) 103s, then the answer."""
        for _ in range(int(request.query.get("n", "1"))):
            connection.send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")
        connection.json(200, {"hinted": True})

    def do_slow(self, connection: Connection, request: Request) -> None:
        """Send ``n`` chunks, ``ms`` apart."""
        pause = threading.Event()
        connection.start(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])
        for index in range(int(request.query.get("n", "5"))):
            connection.chunk(b"data: %d\n\n" % index)
            pause.wait(int(request.query.get("ms", "100")) / 1000)
        connection.send(b"0\r\n\r\n")

    def do_delay(self, connection: Connection, request: Request) -> None:
        """Answer after ``ms``: the first byte is late."""
        request.drain()
        threading.Event().wait(int(request.query.get("ms", "100")) / 1000)
        connection.json(200, {"delayed": True})

    def do_close_delimited(self, connection: Connection, request: Request) -> None:
        """Send ``n`` bytes whose end is the connection's; ``cut=1`` leaves close_notify out."""
        connection.keep = False
        connection.start(200, [("content-type", "text/plain")])
        connection.send(b"x" * int(request.query.get("n", "1000")))
        if "cut" not in request.query and hasattr(connection.sock, "unwrap"):
            connection.sock.unwrap()

    def do_truncated(self, connection: Connection, request: Request) -> None:
        """Promise ``n`` bytes, send half."""
        promised = int(request.query.get("n", "1000"))
        connection.keep = False
        connection.start(200, [("content-length", str(promised))])
        connection.send(b"x" * (promised // 2))

    def do_hangup(self, connection: Connection, request: Request) -> None:
        connection.keep = False

    def do_reflect(self, connection: Connection, request: Request) -> None:
        """Send the received fields back, in a header and in the body, as careless debug pages do."""
        request.drain()
        fields = [(f"x-reflected-{name}", value) for name, value in request.headers if name in SENSITIVE]
        connection.json(200, {"headers": request.headers}, fields)

    def do_status(self, connection: Connection, request: Request) -> None:
        request.drain()
        status = int(request.path.rsplit("/", 1)[1])
        if status in {204, 304}:
            connection.start(status, [])
        else:
            connection.json(status, {"status": status})

    def do_redirect(self, connection: Connection, request: Request) -> None:
        request.drain()
        connection.reply(302, [("location", request.query["to"])], b"")

    def do_upgrade(self, connection: Connection, request: Request) -> None:
        """Switch to ``websocket`` and echo bytes (no frames: the proxy must not care)."""
        connection.keep = False
        connection.start(101, [("upgrade", request.value("upgrade")), ("connection", "upgrade")])
        while block := connection.reader.read1(BLOCK):
            connection.send(block)

    def do_chat(self, connection: Connection, request: Request) -> None:
        """Switch to WebSocket (RFC 6455) and echo each message, which comes in one frame, until the client closes."""
        connection.keep = False
        proof = base64.b64encode(
            hashlib.sha1(request.value("sec-websocket-key").encode() + WEBSOCKET).digest()
        ).decode()
        connection.start(101, [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", proof)])
        while len(head := connection.reader.read(2)) == 2:
            length = head[1] & 0x7F
            extended = connection.reader.read({126: 2, 127: 8}.get(length, 0))
            size = int.from_bytes(extended, "big") if extended else length
            mask = connection.reader.read(4)
            masked = connection.reader.read(size)
            message = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
            connection.send(bytes([head[0], length]) + extended + message)
            if head[0] & 0x0F == CLOSE:
                return

    def do_simple(self, connection: Connection, request: Request) -> None:
        """A Python package index (PEP 503)."""
        self._file(connection, "simple" + request.path.partition("/simple")[2].rstrip("/") + "/index.html", "text/html")

    def do_packages(self, connection: Connection, request: Request) -> None:
        self._file(connection, request.path.removeprefix("/v2/"), "application/octet-stream")

    def do_npm(self, connection: Connection, request: Request) -> None:
        """An npm registry: package documents and tarballs; audits and the like are answered 404."""
        path = request.path.removeprefix("/v2/")
        request.drain()
        if path.endswith(".tgz"):
            self._file(connection, path, "application/octet-stream")
        else:
            self._file(connection, path + "/package.json", "application/json")

    def do_git(self, connection: Connection, request: Request) -> None:
        """A smart git server: ``git http-backend`` behind RFC 3875's variables."""
        variables = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self._content / "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path.removeprefix("/v2/git"),
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.raw_query,
            "CONTENT_TYPE": request.value("content-type"),
            "HTTP_CONTENT_ENCODING": request.value("content-encoding"),
            "GIT_PROTOCOL": request.value("git-protocol"),
            "REMOTE_ADDR": "127.0.0.1",
        }
        body = b"".join(request.body())
        if body:
            variables["CONTENT_LENGTH"] = str(len(body))
        done = subprocess.run(["git", "http-backend"], input=body, env=variables, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [(n.lower(), v.strip()) for n, _, v in (li.partition(":") for li in head.decode().split("\r\n"))]
        status = next((int(value.split()[0]) for name, value in fields if name == "status"), 200)
        connection.reply(status, [pair for pair in fields if pair[0] != "status"], content)

    def _file(self, connection: Connection, relative: str, media_type: str) -> None:
        path = (self._content / relative).resolve()
        if not path.is_relative_to(self._content.resolve()) or not path.is_file():
            connection.reply(404, [("content-type", "application/json")], json.dumps({"error": "not found"}).encode())
            return
        connection.reply(200, [("content-type", media_type)], path.read_bytes())


SENSITIVE = {"authorization", "x-api-key"}
