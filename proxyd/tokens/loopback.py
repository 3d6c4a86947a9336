"""A port of this machine that a browser brings a code to (RFC 8252 §7.3): one path is answered, nothing is served."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

import trio

from proxyd.core.units import KIB
from proxyd.tokens.errors import TokenError

MAX_HEAD: Final = 16 * KIB
SECONDS: Final = 10.0
"""For which a connection may say nothing of use."""

MAX_CONNECTIONS: Final = 16
MAX_PARAMETERS: Final = 20

_LINE: Final = re.compile(rb"GET (/[!-~]*) HTTP/1\.[01]\r\n")
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found"}


@dataclass(frozen=True, slots=True)
class Callback:
    """A browser that waits for its answer."""

    parameters: dict[str, str]
    _stream: trio.SocketStream
    _answered: trio.Event

    def __repr__(self) -> str:
        return f"<Callback {sorted(self.parameters)}>"

    async def answer(self, status: int, text: str) -> None:
        """Show a text. A browser that has gone is no error."""
        await _say(self._stream, status, text)
        self._answered.set()


class Loopback:
    """The port while it is open."""

    def __init__(self, redirect: str, path: str, send: "trio.MemorySendChannel[Callback]") -> None:
        self.url = redirect
        """The redirection URI, with the port."""
        self._path = path.encode("ascii")
        self._send = send
        self._callbacks: trio.MemoryReceiveChannel[Callback]
        self._places = trio.CapacityLimiter(MAX_CONNECTIONS)

    @classmethod
    @asynccontextmanager
    async def open(cls, redirect: str, port: int = 0) -> "AsyncIterator[Self]":
        """Listen where ``redirect`` says, on a port of the kernel's choice unless one is given. TokenError."""
        parts = urlsplit(redirect)
        send, receive = trio.open_memory_channel[Callback](0)
        try:
            listeners = await trio.open_tcp_listeners(port or parts.port or 0, host="127.0.0.1")
        except OSError as error:
            raise TokenError(f"port {port} of this machine cannot be had: {error.strerror}", is_final=True) from None
        bound = listeners[0].socket.getsockname()[1]
        made = cls(f"http://{parts.hostname}:{bound}{parts.path}", parts.path or "/", send)
        made._callbacks = receive
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, made._serve, listeners)
                yield made
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:  # of whoever uses the port: the tasks here raise nothing
            raise group.exceptions[0] from None

    async def callback(self) -> Callback:
        """Return the next request for the path, whoever makes it."""
        return await self._callbacks.receive()

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with self._places:
            try:
                with trio.move_on_after(SECONDS):
                    target = await _target(stream)
                    if target is None:
                        await _say(stream, 400, "This is no request that is answered here.")
                        return
                    path, _, query = target.partition(b"?")
                    if path != self._path:
                        await _say(stream, 404, "There is nothing here.")
                        return
                    parameters = _parameters(query)
                    if parameters is None:
                        await _say(stream, 400, "The parameters cannot be read.")
                        return
                    answered = trio.Event()
                    await self._send.send(Callback(parameters, stream, answered))
                    await answered.wait()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the browser has gone
            finally:
                await trio.aclose_forcefully(stream)


async def _target(stream: trio.SocketStream) -> bytes | None:
    """Return the target of a GET; None for anything else."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        piece = await stream.receive_some(4 * KIB)
        head += piece
        if not piece or len(head) > MAX_HEAD:
            return None
    line = _LINE.match(head)
    return line[1] if line is not None else None


def _parameters(query: bytes) -> dict[str, str] | None:
    """Return the parameters; None where there are too many, or one stands twice (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return None
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


async def _say(stream: trio.SocketStream, status: int, text: str) -> None:
    body = f"<!doctype html><meta charset=utf-8><title>proxyd</title><p>{text}</p>\n".encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: text/html; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\n"
        "content-security-policy: default-src 'none'\r\nconnection: close\r\n\r\n"
    )
    try:
        await stream.send_all(head.encode("ascii") + body)
        await stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
