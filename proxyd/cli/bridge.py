"""``proxyd bridge``: a TCP port that leads to a Unix socket, for clients that only know HTTP_PROXY.

Such as in a container into which nothing but the forward listener's socket is mounted. Bytes are carried, not read.
The daemon sees the bridge's own uid and pid in place of the callers', and so do its access rules: whoever reaches the
port has them.
"""

import ipaddress
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from proxyd.net import listen
from proxyd.net.reaper import Reaper
from proxyd.net.relay import Pipes, Tally, relay
from proxyd.net.stream import Stream, StreamError

MAX_CONNECTIONS: Final = 1024
"""More are closed at once."""
IDLE_SECONDS: Final = 3600.0
"""A connection in which neither side sends: what the daemon grants a tunnel."""
CONNECT_SECONDS: Final = 2.0
"""How long the daemon's queue may be full."""

_UNREACHABLE: Final = (
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)


class Bridge:
    """Carries each connection that a listening TCP socket accepts to the Unix socket at ``path``."""

    def __init__(self, path: str, most: int = MAX_CONNECTIONS) -> None:
        self._path = path
        self._most = most
        self._reaper = Reaper()
        self._pipes = Pipes()
        self.active = 0
        """Connections carried now."""

    async def run(self, sock: socket.socket) -> None:
        """Serve until cancelled; ``sock`` is closed then."""
        with sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reaper.run)
                await listen.accept(sock, partial(self._accepted, nursery), _ignore)

    def _accepted(self, nursery: trio.Nursery, client: socket.socket, address: Any) -> None:
        if self.active >= self._most:
            client.close()
            return
        self.active += 1
        nursery.start_soon(self._carry, client)

    async def _carry(self, client: socket.socket) -> None:
        stream = Stream(client)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with await self._connect() as server:
                other = Stream(server)
                try:
                    self._reaper.add(stream)
                    self._reaper.add(other)
                    await relay(stream, other, IDLE_SECONDS, self._pipes, Tally())
                finally:
                    other.close()
        except OSError as error:
            await self._apologise(stream, error)
        finally:
            stream.close()
            self.active -= 1

    async def _connect(self) -> socket.socket:
        """Connect to the Unix socket; OSError says why not. Its queue may be full for a moment."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        deadline = trio.current_time() + CONNECT_SECONDS
        try:
            while True:
                try:
                    server.connect(self._path)
                except BlockingIOError:
                    if trio.current_time() > deadline:
                        raise
                    await trio.sleep(0.02)
                else:
                    return server
        except BaseException:
            server.close()
            raise

    async def _apologise(self, stream: Stream, error: OSError) -> None:
        words = f"proxyd bridge: {self._path}: {error.strerror}; does the daemon run?\n".encode(errors="replace")
        try:
            await stream.send(_UNREACHABLE % (len(words), words))
        except StreamError:
            return  # the client left


def bind(address: tuple[str, int]) -> socket.socket:
    """Listen on an IP address and port. OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(MAX_CONNECTIONS)
    except OSError:
        sock.close()
        raise
    return sock


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this machine can connect."""
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback


def url(sock: socket.socket) -> str:
    """Return what HTTP_PROXY is to be."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def bridge(sock: socket.socket, path: str, say: Callable[[str], None]) -> None:
    """Say the URL, then carry connections until SIGTERM or SIGINT."""
    trio.run(_until_told, sock, path, say)


async def _until_told(sock: socket.socket, path: str, say: Callable[[str], None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Bridge(path).run, sock)
            say(url(sock))
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


def _ignore(error: str) -> None:
    """An accept that failed is tried again."""
