"""An origin of server-sent events: each says when it was written, so that a client knows how long it was on its way."""

import http.server
import ssl
import threading
import time
from types import TracebackType
from typing import Any, Self

from bench.origin import KEY_HEADER, Target
from bench.ports import LOOPBACK

INTERVAL = 0.02
"""Seconds between two events: long enough for everything in between to fall idle."""


class EventOrigin:
    """Sends an event each INTERVAL to whoever brings the credential, until the client leaves. A context manager."""

    def __init__(self, target: Target, *, secure: bool) -> None:
        credentials = {(KEY_HEADER, target.key), ("Authorization", f"Bearer {target.token}")}
        over = self._over = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if not any(self.headers.get(name) == value for name, value in credentials):
                    self.send_error(401)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    while not over.wait(INTERVAL):
                        event = b"data: %d\n\n" % time.perf_counter_ns()
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                except OSError:
                    self.close_connection = True  # the client has seen enough

            def log_message(self, *words: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(target.identity.certificate, target.identity.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
