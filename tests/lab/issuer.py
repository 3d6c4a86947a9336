"""An identity provider on loopback: client credentials and rotating refresh tokens, slow or broken when told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from tests.lab.pki import Pki


class Issuer:
    """Issues numbered tokens. Use as a context manager."""

    def __init__(self, pki: Pki | None = None, *, life: int = 3600) -> None:
        self.life = life
        self.asked: list[dict[str, str]] = []
        """Forms, with the Authorization field under its name."""
        self.refresh = "refresh-0"
        """The only refresh token that is good."""
        self.fails = 0
        """Answers 503 to so many questions to come."""
        self.hold = threading.Event()
        self.hold.set()
        self._lock = threading.Lock()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                form = dict(parse_qsl(body.decode()))
                status, document = issuer._answer({**form, "authorization": self.headers.get("authorization", "")})
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if pki is not None:
            self._server.socket = pki.server_context().wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if pki else 'http'}://localhost:{self.port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def tokens(self) -> list[str]:
        """What was issued."""
        return [f"access-token-number-{number}" for number in range(1, self._issued + 1)]

    _issued = 0

    def _answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.hold.wait(60)
        with self._lock:
            self.asked.append(form)
            if self.fails:
                self.fails -= 1
                return 503, {"error": "temporarily_unavailable"}
            if form.get("grant_type") == "refresh_token":
                if form.get("refresh_token") != self.refresh:
                    return 400, {"error": "invalid_grant"}
                self.refresh = f"refresh-{len(self.asked)}"
            self._issued += 1
            issued: dict[str, Any] = {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": self.life}
            if form.get("grant_type") == "refresh_token":
                issued["refresh_token"] = self.refresh
            return 200, issued

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
