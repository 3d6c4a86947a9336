"""A store that takes signed uploads: it checks the head's signature and every chunk's by AWS's documentation.

Written from https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, with nothing of proxyd's own.
"""

import hashlib
import hmac
import socket
import ssl
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from tests.lab.pki import Pki


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


EMPTY = sha256(b"")


@dataclass
class Upload:
    """What came of one request."""

    path: str
    size: int = 0
    """Bytes without the frames."""
    framed: int = 0
    """Bytes with them."""
    announced: int = 0
    """Content-Length."""
    chunks: int = 0
    digest: str = ""
    trailers: tuple[str, ...] = ()
    problem: str = ""
    """The first signature that was wrong; the rest is read all the same, so that the answer arrives."""

    def refuse(self, problem: str) -> None:
        self.problem = self.problem or problem


class CutOff(Exception):
    """A body ended too early."""


class Signatures:
    """Of one request, each made of the one before."""

    def __init__(self, secret: str, moment: str, scope: str) -> None:
        self._moment = moment
        self._scope = scope
        key = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        self._key = key
        self._last: tuple[str, ...] = ()

    def next(self, kind: str, *parts: str) -> str:
        text = "\n".join((kind, self._moment, self._scope, *self._last, *parts))
        signature = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        self._last = (signature,)
        return signature


class Store:
    """Takes PUT on a port of loopback, by TLS, and knows one key. Use as a context manager."""

    def __init__(self, pki: Pki, identity: str, secret: str, region: str = "eu-west-1") -> None:
        self.uploads: list[Upload] = []
        self.problems: list[str] = []
        self.roots = pki.roots
        self._identity = identity
        self._secret = secret
        self._region = region
        self._context = pki.server_context()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return  # closed: that is the end
            try:
                with self._context.wrap_socket(raw, server_side=True) as stream:
                    self._connection(stream)
            except (OSError, ssl.SSLError) as error:
                self.problems.append(repr(error))

    def _connection(self, stream: ssl.SSLSocket) -> None:
        with stream.makefile("rb") as file:
            while line := file.readline():
                try:
                    upload = self._upload(line.decode("ascii"), file)
                except CutOff:
                    self.problems.append("the body is cut off")
                    return
                if upload.problem:
                    self.problems.append(upload.problem)
                else:
                    self.uploads.append(upload)
                status = "403 Forbidden" if upload.problem else "200 OK"
                stream.sendall(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode("ascii"))

    def _upload(self, request: str, file: BinaryIO) -> Upload:
        method, target, _ = request.split(" ")
        headers: dict[str, str] = {}
        while (line := file.readline().decode("ascii").rstrip("\r\n")) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        moment = headers["x-amz-date"]
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        signatures = Signatures(self._secret, moment, scope)
        fields = dict(item.strip().split("=", 1) for item in headers["authorization"].split(" ", 1)[1].split(","))
        made = Upload(target, announced=int(headers["content-length"]))
        if fields["Credential"] != f"{self._identity}/{scope}":
            made.refuse(f"the credential is {fields['Credential']}")
        names = fields["SignedHeaders"].split(";")
        lines = "".join(f"{name}:{headers[name]}\n" for name in names)
        path, _, query = target.partition("?")
        payload = headers["x-amz-content-sha256"]
        canonical = "\n".join((method, path, query, lines, ";".join(names), payload))
        if fields["Signature"] != signatures.next("AWS4-HMAC-SHA256", sha256(canonical.encode())):
            made.refuse("the head's signature is wrong")
        _read_chunks(made, file, signatures)
        _read_trailers(made, file, signatures, are_signed=payload.endswith("-TRAILER"))
        return made


def _read_chunks(made: Upload, file: BinaryIO, signatures: Signatures) -> None:
    whole = hashlib.sha256()
    while True:
        line = file.readline().decode("ascii")
        if not line.endswith("\r\n"):
            raise CutOff
        size, _, signature = line.rstrip("\r\n").partition(";chunk-signature=")
        data = file.read(int(size, 16))
        if signature != signatures.next("AWS4-HMAC-SHA256-PAYLOAD", EMPTY, sha256(data)):
            made.refuse(f"the signature of chunk {made.chunks} is wrong")
        made.framed += len(line) + len(data)
        if not data:
            made.digest = whole.hexdigest()
            return
        made.framed += len(file.read(2))
        made.chunks += 1
        made.size += len(data)
        whole.update(data)


def _read_trailers(made: Upload, file: BinaryIO, signatures: Signatures, *, are_signed: bool) -> None:
    found: list[str] = []
    signature = ""
    while (line := file.readline().decode("ascii")) != "\r\n":
        made.framed += len(line)
        name, _, value = line.rstrip("\r\n").partition(":")
        if name == "x-amz-trailer-signature":
            signature = value
        else:
            found.append(f"{name}:{value}\n")
    made.framed += len(line)
    made.trailers = tuple(found)
    expected = signatures.next("AWS4-HMAC-SHA256-TRAILER", sha256("".join(sorted(found)).encode()))
    if signature != (expected if are_signed else ""):
        made.refuse("the signature of the trailers is wrong")
