"""An identity provider on loopback: client credentials, rotating refresh tokens, and a person's consent by device code
(RFC 8628) or browser (RFC 6749 §4.1 with PKCE, RFC 7636); slow or broken when told to."""

import base64
import hashlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.lab.pki import Pki


class Issuer:
    """Issues numbered tokens. Use as a context manager."""

    def __init__(self, pki: Pki | ssl.SSLContext | None = None, *, life: int = 3600) -> None:
        self.life = life
        self.asked: list[dict[str, str]] = []
        """Forms, with the Authorization field under its name."""
        self.refresh = "refresh-0"
        """The only refresh token that is good."""
        self.fails = 0
        """Answers 503 to so many questions to come."""
        self.hold = threading.Event()
        self.hold.set()
        self.replies: list[str] = []
        """What polls of a device code get first, such as slow_down; after these, the token."""
        self.device: dict[str, Any] = {"interval": 1, "expires_in": 60}
        """What the answer to a device says besides codes and address."""
        self.callback: dict[str, str] = {}
        """Parameters that the browser brings in place of the right ones."""
        self.gives_refresh = True
        self._codes: dict[str, dict[str, str]] = {}
        """Authorization requests by their code."""
        self._lock = threading.Lock()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                form = dict(parse_qsl(body.decode()))
                said = {**form, "authorization": self.headers.get("authorization", "")}
                self._send(*(issuer._device(said) if self.path == "/device" else issuer._answer(said)))

            def _send(self, status: int, document: dict[str, Any]) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                """The authorization endpoint, where whoever asks is taken to consent at once; below /realm tokens."""
                if self.path.startswith("/realm?"):
                    asked = dict(parse_qsl(urlsplit(self.path).query))
                    self._send(*issuer._answer({**asked, "authorization": self.headers.get("authorization", "")}))
                    return
                self.send_response(302)
                self.send_header("location", issuer._consented(dict(parse_qsl(urlsplit(self.path).query))))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if pki is not None:
            context = pki.server_context() if isinstance(pki, Pki) else pki
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if pki else 'http'}://localhost:{self.port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def tokens(self) -> list[str]:
        """What was issued."""
        return [f"access-token-number-{number}" for number in range(1, self._issued + 1)]

    _issued = 0

    @property
    def realm(self) -> str:
        """Where tokens for a scope are had, by GET."""
        return self.url.replace("/token", "/realm")

    @property
    def device_url(self) -> str:
        """The device authorization endpoint."""
        return self.url.replace("/token", "/device")

    @property
    def authorize_url(self) -> str:
        """The authorization endpoint."""
        return self.url.replace("/token", "/authorize")

    def _device(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(form)
        address = self.url.replace("/token", "/activate")
        return 200, {"device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": address, **self.device}

    def _consented(self, asked: dict[str, str]) -> str:
        """Return where the browser is sent."""
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        with self._lock:
            code = f"code-{len(self._codes)}"
            self._codes[code] = asked
        brought = {"code": code, "state": asked["state"], **self.callback}
        return f"{asked['redirect_uri']}?{urlencode({name: value for name, value in brought.items() if value})}"

    def _refusal(self, form: dict[str, str]) -> str:
        """Return the code of an error; empty: the grant is good."""
        kind = form.get("grant_type", "")
        if kind == "refresh_token":
            return "" if form.get("refresh_token") == self.refresh else "invalid_grant"
        if kind.endswith(":device_code"):
            return self.replies.pop(0) if self.replies else "" if form["device_code"] == "device-1" else "invalid_grant"
        if kind == "authorization_code":
            asked = self._codes.pop(form["code"], {"code_challenge": "", "redirect_uri": ""})
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            proved = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
            return "" if proved and form["redirect_uri"] == asked["redirect_uri"] else "invalid_grant"
        return ""

    def _answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.hold.wait(60)
        with self._lock:
            self.asked.append(form)
            if self.fails:
                self.fails -= 1
                return 503, {"error": "temporarily_unavailable"}
            error = self._refusal(form)
            if error:
                return 400, {"error": error}
            has_refresh = form.get("grant_type") != "client_credentials" and self.gives_refresh
            if has_refresh:
                self.refresh = f"refresh-{len(self.asked)}"
            self._issued += 1
            issued: dict[str, Any] = {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": self.life}
            if has_refresh:
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
