"""A raw origin that follows a script: bytes that must come in, bytes that go out. For tests of the wire.

with ScriptedOrigin([ReadHead(), Send(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n"), Close()]) as origin:
    ...
assert origin.received == b"GET / HTTP/1.1..."
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, assert_never

DEADLINE_SECONDS = 20
BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Expect:
    """Read exactly these bytes; anything else is a mismatch."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ReadHead:
    """Read through the next empty line."""


@dataclass(frozen=True, slots=True)
class ReadBytes:
    """Read this many bytes, whatever they are."""

    count: int


@dataclass(frozen=True, slots=True)
class ReadAll:
    """Read until the peer ends its side."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes; ``bytewise`` sends them one at a time."""

    data: bytes
    bytewise: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the test sets the event."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection in good order (close_notify on TLS)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """End the connection by RST."""


Step = Expect | ReadHead | ReadBytes | ReadAll | Send | Wait | Close | Reset


class ScriptError(AssertionError):
    """The peer sent something else than the script says, or ended too early."""


@dataclass(slots=True)
class Conversation:
    """One connection: what came in, and how the script failed, if it did."""

    received: bytes = b""
    error: BaseException | None = None


class ScriptedOrigin:
    """Listens on loopback; connection n follows script n, further ones the last. A context manager.

    Leaving it stops the listener and raises the first ScriptError.
    """

    def __init__(self, *scripts: Sequence[Step], tls: ssl.SSLContext | None = None) -> None:
        assert scripts, "at least one script"
        self._scripts = scripts
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.conversations: list[Conversation] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def received(self) -> bytes:
        """All bytes of all connections, in order of the connections."""
        return b"".join(conversation.received for conversation in self.conversations)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(DEADLINE_SECONDS)
        for sock in self._sockets:
            _shut(sock)
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
        if error is None:
            for conversation in self.conversations:
                if isinstance(conversation.error, ScriptError):
                    raise conversation.error

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # the test is over
            sock.settimeout(DEADLINE_SECONDS)
            script = self._scripts[min(len(self.conversations), len(self._scripts) - 1)]
            conversation = Conversation()
            self.conversations.append(conversation)
            self._sockets.append(sock)
            thread = threading.Thread(target=self._converse, args=(sock, script, conversation), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _converse(self, sock: socket.socket, script: Sequence[Step], conversation: Conversation) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)  # the plain one is detached now
            for step in script:
                _perform(sock, step, conversation)
        except (OSError, ScriptError) as error:
            conversation.error = error
        finally:
            sock.close()


def _perform(sock: socket.socket, step: Step, conversation: Conversation) -> None:
    match step:
        case Expect(data):
            got = _read(sock, len(data), conversation)
            if got != data:
                raise ScriptError(f"expected {data!r}, got {got!r}")
        case ReadHead():
            start = len(conversation.received)
            while not conversation.received[start:].endswith(b"\r\n\r\n"):
                if not _read(sock, 1, conversation):
                    raise ScriptError(f"the peer ended within a head: {conversation.received[start:]!r}")
        case ReadBytes(count):
            got = _read(sock, count, conversation)
            if len(got) < count:
                raise ScriptError(f"the peer ended after {len(got)} of {count} bytes")
        case ReadAll():
            while data := sock.recv(BLOCK):
                conversation.received += data
        case Send(data, bytewise):
            for piece in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
                sock.sendall(piece)
        case Wait(event):
            if not event.wait(DEADLINE_SECONDS):
                raise ScriptError("the test never set the event")
        case Close():
            if isinstance(sock, ssl.SSLSocket):
                sock.unwrap()
            sock.close()
        case Reset():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        case _:
            assert_never(step)


def _read(sock: socket.socket, count: int, conversation: Conversation) -> bytes:
    got = b""
    while len(got) < count and (data := sock.recv(count - len(got))):
        got += data
        conversation.received += data
    return got


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # ended already
        sock.shutdown(socket.SHUT_RDWR)
