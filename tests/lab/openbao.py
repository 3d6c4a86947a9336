"""A double of the HTTP API of OpenBao and Vault: the paths that their documentation gives, and no others.

``Bao`` answers in memory, by a clock that it is given; ``BaoServer`` puts it on loopback. Everything that proxyd asks
is remembered, and a question that the documentation does not know is answered 404 or 405, as there.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.lab.pki import Pki

Reply = tuple[int, dict[str, str], bytes]


def reply(status: int, document: Any = None, **headers: str) -> Reply:
    """Return an answer with a JSON body, or without one."""
    return status, headers, b"" if document is None else json.dumps(document).encode()


@dataclass
class Lent:
    """A token or a lease."""

    ttl: float
    ends: float
    last: float
    """``max_ttl``, as a time."""
    renewable: bool = True
    parent: str = ""
    data: dict[str, str] = field(default_factory=dict)


@dataclass
class Bao:
    """One server, unsealed. Change its fields to have it behave otherwise."""

    clock: Callable[[], float] = time.monotonic
    namespace: str = ""
    role_id: str = "role-1"
    secret_id: str = "secret-id-1"
    jwt: str = "jwt.of.pod"
    token_ttl: float = 3600
    token_max: float = 1e9
    tokens_renew: bool = True
    lease_ttl: float = 3600
    lease_max: float = 1e9
    leases_renew: bool = True
    fails: int = 0
    """Status of every answer; 0: it works."""
    retry_after: str = ""
    hostile: bytes | None = None
    """Body of every answer to a read."""
    leader: str = ""
    """Where a standby sends to."""
    stored: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)
    """Versions by path; None: deleted."""
    simple: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the engine of version 1, mounted at ``old``."""
    tokens: dict[str, Lent] = field(default_factory=dict)
    leases: dict[str, Lent] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    logins: int = 0
    lent: int = 0

    def put(self, path: str, **data: Any) -> None:
        """Store a version at ``secret/PATH``."""
        self.stored.setdefault(path, []).append(data)

    def issue(self, token: str = "", ttl: float | None = None, *, renewable: bool | None = None) -> str:
        """Make a token; ``ttl`` 0 is for ever."""
        now = self.clock()
        token = token or f"hvs.token-{len(self.tokens) + 1}"
        ttl = self.token_ttl if ttl is None else ttl
        is_renewable = self.tokens_renew if renewable is None else renewable
        self.tokens[token] = Lent(ttl, now + ttl if ttl else 1e18, now + self.token_max, is_renewable)
        return token

    def revoke(self, token: str) -> None:
        """Revoke a token with its leases."""
        del self.tokens[token]
        self.leases = {lease: lent for lease, lent in self.leases.items() if lent.parent != token}

    def paths(self) -> list[str]:
        """Return what was asked, in short."""
        return [f"{method} {path}" for method, path in self.asked]

    def answer(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Reply:
        """Answer one question; names of ``headers`` in lower case."""
        parts = urlsplit(url)
        path = parts.path.removeprefix("/v1/")
        self.asked.append((method, path))
        if headers.get("x-vault-request") != "true" or not parts.path.startswith("/v1/"):
            return reply(400, {"errors": ["missing 'X-Vault-Request' header"]})
        if self.leader:
            return reply(307, None, location=f"{self.leader}{url}")
        if self.fails:
            return reply(self.fails, {"errors": ["it does not work"]}, **{"retry-after": self.retry_after})
        if headers.get("x-vault-namespace", "") != self.namespace:
            return reply(404, {"errors": ["no handler for route"]})
        try:
            document = json.loads(body) if body else {}
        except ValueError:
            return reply(400, {"errors": ["failed to parse JSON input"]})
        if path.endswith("/login") and method in ("POST", "PUT"):
            return self._login(path, document)
        token = headers.get("x-vault-token", "")
        self._age()
        if token not in self.tokens:
            return reply(403, {"errors": ["permission denied"]})
        if path.startswith("auth/token/"):
            return self._token(method, path, token)
        if path in ("sys/leases/renew", "sys/leases/revoke") and method in ("POST", "PUT"):
            return self._lease(path, document, token)
        if method != "GET":
            return reply(405, {"errors": ["unsupported operation"]})
        if self.hostile is not None:
            return 200, {}, self.hostile
        return self._read(path, parse_qs(parts.query), token)

    def _age(self) -> None:
        now = self.clock()
        for token in [token for token, lent in self.tokens.items() if lent.ends <= now]:
            self.revoke(token)
        self.leases = {lease: lent for lease, lent in self.leases.items() if lent.ends > now}

    def _login(self, path: str, document: dict[str, Any]) -> Reply:
        self.logins += 1
        kind = path.split("/")[1]
        good = {
            "approle": document == {"role_id": self.role_id, "secret_id": self.secret_id},
            "kubernetes": document == {"role": "proxyd", "jwt": self.jwt},
            "jwt": document in ({"role": "proxyd", "jwt": self.jwt}, {"jwt": self.jwt}),
        }
        if not good.get(kind, False):
            said = document.get("secret_id") or document.get("jwt")
            return reply(400, {"errors": [f"invalid credential {said}"]})  # a server that tells what it was told
        return reply(200, self._auth(self.issue()))

    def _auth(self, token: str) -> dict[str, Any]:
        lent = self.tokens[token]
        auth = {"client_token": token, "lease_duration": int(lent.ends - self.clock()), "renewable": lent.renewable}
        return {"auth": auth, "data": None, "lease_id": "", "lease_duration": 0}

    def _token(self, method: str, path: str, token: str) -> Reply:
        lent, now = self.tokens[token], self.clock()
        match method, path:
            case "GET", "auth/token/lookup-self":
                ttl = int(lent.ends - now) if lent.ends < 1e17 else 0
                return reply(200, {"data": {"ttl": ttl, "renewable": lent.renewable, "id": token}})
            case "POST" | "PUT", "auth/token/renew-self":
                if not lent.renewable:
                    return reply(400, {"errors": ["lease is not renewable"]})
                if lent.ends >= lent.last:
                    return reply(500, {"errors": ["past the max TTL, cannot renew"]})  # as OpenBao 2.7 answers
                lent.ends = min(now + lent.ttl, lent.last)
                return reply(200, self._auth(token))
            case "POST" | "PUT", "auth/token/revoke-self":
                self.revoke(token)
                return reply(204)
        return reply(405, {"errors": ["unsupported operation"]})

    def _lease(self, path: str, document: dict[str, Any], token: str) -> Reply:
        lease = document.get("lease_id", "")
        lent = self.leases.get(lease)
        if lent is None:
            return reply(400, {"errors": ["lease not found"]})
        if path == "sys/leases/revoke":
            del self.leases[lease]
            return reply(204)
        if not lent.renewable:
            return reply(400, {"errors": ["lease is not renewable"]})
        if lent.ends >= lent.last:
            return reply(500, {"errors": ["past the max TTL, cannot renew"]})
        lent.ends = min(self.clock() + lent.ttl, lent.last)
        seconds = int(lent.ends - self.clock())
        return reply(200, {"lease_id": lease, "renewable": True, "lease_duration": seconds})

    def _read(self, path: str, query: dict[str, list[str]], token: str) -> Reply:
        if path.startswith("secret/data/"):
            return self._version(path.removeprefix("secret/data/"), int(query.get("version", ["0"])[0]))
        if path.startswith("old/") and path.removeprefix("old/") in self.simple:
            return reply(200, {"data": self.simple[path.removeprefix("old/")], "lease_id": "", "lease_duration": 60})
        if path.startswith("database/creds/"):
            return reply(200, self._lend(path, token))
        return reply(404, {"errors": []})

    def _version(self, path: str, wanted: int) -> Reply:
        versions = self.stored.get(path)
        if not versions or wanted > len(versions):
            return reply(404, {"errors": []})
        number = wanted or len(versions)
        data = versions[number - 1]
        created = f"2026-11-{number:02d}T10:00:00.123456789Z"
        deleted = "" if data is not None else "2026-11-20T10:00:00Z"
        metadata = {"version": number, "created_time": created, "deletion_time": deleted, "destroyed": False}
        return reply(200 if data is not None else 404, {"data": {"data": data, "metadata": metadata}})

    def _lend(self, path: str, token: str) -> dict[str, Any]:
        self.lent += 1
        now, number = self.clock(), self.lent
        lease = f"{path}/lease-{number}"
        data = {"username": f"user-{number}", "password": f"password-{number}"}
        self.leases[lease] = Lent(self.lease_ttl, now + self.lease_ttl, now + self.lease_max, parent=token, data=data)
        self.leases[lease].renewable = self.leases_renew
        return {"lease_id": lease, "renewable": self.leases_renew, "lease_duration": int(self.lease_ttl), "data": data}


class BaoServer:
    """A Bao on loopback, by TLS where there is a Pki. Use as a context manager."""

    def __init__(self, bao: Bao, pki: Pki | None = None) -> None:
        self.bao = bao
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                said = {name.lower(): value for name, value in self.headers.items()}
                with lock:
                    status, headers, data = bao.answer(self.command, self.path, said, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_LIST = handle_any  # noqa: N815 - the names that http.server looks for

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if pki is not None:
            self._server.socket = pki.server_context().wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if pki else 'http'}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
