"""A double of a vendor: on loopback under the vendor's names, credentials checked by the vendor's documented rule."""

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.lab.pki import Pki

MAX_BODY = 64 * 1024 * 1024

IMPERSONAL = {"accept", "accept-encoding", "content-length", "content-type", "host", "transfer-encoding", "user-agent"}
"""Fields of a request that say nothing of who asks."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    """Path and query, as they were sent."""
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes

    @property
    def path(self) -> str:
        """Decoded, without the query."""
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> list[tuple[str, str]]:
        """Parameters, decoded."""
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def host(self) -> str:
        """The Host field without its port."""
        return self.value("host").partition(":")[0]

    def value(self, name: str) -> str:
        """The only value of a field; empty where there is none, AssertionError where there are several."""
        found = self.values(name)
        assert len(found) <= 1, f"{name} is sent {len(found)} times: {found}"
        return found[0] if found else ""

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.headers if key == name.lower()]

    def parameter(self, name: str) -> str:
        """The only value of a query parameter, or the empty string."""
        found = [value for key, value in self.query if key == name]
        assert len(found) <= 1, f"{name} is sent {len(found)} times"
        return found[0] if found else ""

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        """The body of a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the double says: ``body`` is sent as it is when it is bytes or text, else as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Check = Callable[[Asked], str]
"""Return why a credential is refused, or the empty string."""

Answers = Callable[[Asked], Answer]


def unauthorised(why: str) -> Answer:
    """Refuse as most vendors do."""
    return Answer(401, {"message": why})


class Vendor:
    """Answers on loopback, TLS with a certificate for all ``hosts`` of the lab. Use as a context manager."""

    def __init__(
        self,
        pki: Pki,
        check: Check,
        answers: Answers,
        refuse: Callable[[str], Answer] = unauthorised,
        *,
        tls: bool = True,
    ) -> None:
        self.asked: list[Asked] = []
        """Every request, the latest last."""
        self.refused: list[str] = []
        """Why credentials were refused."""
        self._accepted: list[Asked] = []
        self._check = check
        self._answers = answers
        self._refuse = refuse
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ssl.SSLError, TimeoutError):
                    self.close_connection = True

            def parse_request(self) -> bool:
                if not super().parse_request():
                    return False
                vendor.serve(self)
                return False

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def get_request(self) -> Any:
                sock, address = super().get_request()
                sock.settimeout(60)
                return (
                    context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) if tls else sock
                ), address

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is no event; an assertion of the double is kept by ``serve``."""

        context = pki.server_context()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Read one request, judge it and answer."""
        asked = Asked(
            handler.command,
            handler.path,
            [(name.lower(), value) for name, value in handler.headers.items()],
            _body(handler),
        )
        self.asked.append(asked)
        try:
            why = self._check(asked)
            answer = self._refuse(why) if why else self._answers(asked)
            if why:
                self.refused.append(why)
            else:
                self._accepted.append(asked)
        except Exception as error:  # whatever a double trips over is the test's to see
            self.refused.append(f"{type(error).__name__}: {error}")
            answer = Answer(500, {"message": f"the double failed: {error}"})
        _send(handler, asked, answer)

    def discerns(self) -> bool:
        """Whether one of the requests that were let in is refused when it does not say who asks."""
        return not self._accepted or any(self._refuses(asked) for asked in self._accepted)

    def _refuses(self, asked: Asked) -> bool:
        nobody = replace(asked, headers=[(name, value) for name, value in asked.headers if name in IMPERSONAL])
        bare = replace(nobody, target=urlsplit(asked.target).path, body=b"")
        for stripped in (nobody, bare):
            try:
                if self._check(stripped):
                    return True
            except Exception:  # a rule that cannot even be followed lets nobody in
                return True
        return False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("expect", "").lower() == "100-continue":
        handler.send_response_only(100)
        handler.end_headers()
    if "chunked" not in handler.headers.get("transfer-encoding", ""):
        return handler.rfile.read(int(handler.headers.get("content-length") or 0))
    pieces = bytearray()
    while size := int(handler.rfile.readline().partition(b";")[0], 16):
        pieces += handler.rfile.read(size)
        handler.rfile.readline()
        assert len(pieces) <= MAX_BODY
    while handler.rfile.readline().strip():
        pass  # trailers
    return bytes(pieces)


def _send(handler: BaseHTTPRequestHandler, asked: Asked, answer: Answer) -> None:
    body, fields = answer.body, {name.lower(): value for name, value in answer.headers.items()}
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
        fields.setdefault("content-type", "application/json")
    data = body.encode() if isinstance(body, str) else body
    handler.send_response(answer.status)
    for name, value in fields.items():
        handler.send_header(name, value)
    if answer.status not in (204, 304):
        handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    if asked.method != "HEAD" and answer.status not in (204, 304):
        handler.wfile.write(data)
    handler.wfile.flush()
