"""An origin that switches to WebSocket and then holds still: what a proxy keeps of such a connection can be weighed."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from bench.origin import KEY_HEADER, Target
from bench.ports import LOOPBACK

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LOOK = 0.1


class SwitchOrigin:
    """Answers heads that bring the credential with 101 and echoes what comes afterwards. A context manager."""

    def __init__(self, target: Target) -> None:
        self._credential = f"{KEY_HEADER}: {target.key}".lower().encode()
        self._server = socket.create_server((LOOPBACK, 0), backlog=4096)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        switched: set[socket.socket] = set()
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(LOOK):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._server:
                        selector.register(sock.accept()[0], selectors.EVENT_READ)
                    elif not self._answer(sock, switched):
                        selector.unregister(sock)
                        sock.close()
            for key in list(selector.get_map().values()):
                if key.fileobj is not self._server:
                    assert isinstance(key.fileobj, socket.socket)
                    key.fileobj.close()

    def _answer(self, sock: socket.socket, switched: set[socket.socket]) -> bool:
        """Answer what came; False at the end. A head comes in one piece on loopback."""
        try:
            data = sock.recv(65536)
            if not data:
                return False
            if sock in switched:
                sock.sendall(data)
                return True
            is_known = self._credential in data.lower()
            sock.sendall(SWITCHED if is_known else REFUSED)
        except OSError:
            return False
        switched.add(sock)
        return is_known
