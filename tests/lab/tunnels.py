"""Open tunnels: an echo server, and clients that reach it by CONNECT and look whether it still answers."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

BLOCK = 64 * 1024
LATE_SECONDS = 20


class Echo:
    """A TCP server on loopback that sends back what it gets: one thread for all its connections."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._wake, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def authority(self) -> str:
        """``host:port`` of the server."""
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.close()
        self._thread.join()
        self._wake.close()
        self._server.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._wake:
                        return self._close(selector)
                    if sock is self._server:
                        selector.register(sock.accept()[0], selectors.EVENT_READ)
                    elif not self._answer(sock):
                        selector.unregister(sock)
                        sock.close()

    @staticmethod
    def _answer(sock: socket.socket) -> bool:
        with contextlib.suppress(ConnectionError):
            data = sock.recv(BLOCK)
            sock.sendall(data)
            return bool(data)
        return False

    def _close(self, selector: selectors.BaseSelector) -> None:
        for key in list(selector.get_map().values()):
            if key.fileobj not in (self._server, self._wake):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()


class Tunnels:
    """``count`` tunnels through a forward proxy to an Echo."""

    def __init__(self, proxy: tuple[str, int], authority: str, count: int) -> None:
        self._proxy = proxy
        self._authority = authority
        self._count = count
        self._socks: list[socket.socket] = []
        self._rounds = 0

    def __enter__(self) -> Self:
        request = f"CONNECT {self._authority} HTTP/1.1\r\nHost: {self._authority}\r\n\r\n".encode()
        try:
            for _ in range(self._count):
                sock = socket.create_connection(self._proxy, LATE_SECONDS)
                self._socks.append(sock)
                sock.sendall(request)
                head = sock.recv(BLOCK)
                assert head.startswith(b"HTTP/1.1 200 "), head
            assert not self.broken()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def broken(self) -> list[str]:
        """Send something through every tunnel and return what is wrong with those that do not answer it."""
        self._rounds += 1
        said = b"round %d" % self._rounds
        faults = []
        for sock in self._socks:
            try:
                sock.sendall(said)
                heard = b""
                while len(heard) < len(said) and (data := sock.recv(BLOCK)):
                    heard += data
                if heard != said:
                    faults.append(f"{heard!r} in place of {said!r}")
            except OSError as error:
                faults.append(repr(error))
        return faults

    def close(self) -> None:
        """Close all of them."""
        for sock in self._socks:
            sock.close()
        self._socks.clear()
