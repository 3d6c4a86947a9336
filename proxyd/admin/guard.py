"""Who may speak to the admin HTTP address: nothing that a web page can make a browser send.

A page of another origin reaches loopback addresses through the browser (CSRF), or through its own name after it was
pointed at 127.0.0.1 (DNS rebinding): hence the checks of Host, Origin and Sec-Fetch-Site.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS: Final = ("GET", "HEAD")
WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound


class Guard:
    """ASGI middleware: passes on GET and HEAD that were meant for this address, answers everything else itself."""

    def __init__(self, app: App, address: str) -> None:
        """``address`` is the ``host:port`` as bound, IPv6 in brackets."""
        self._app = app
        host, _, port = address.rpartition(":")
        self._port = port
        self._wildcard = host.strip("[]") in WILDCARDS
        self._hosts = frozenset(f"{name}:{port}" for name in (host, "localhost", "127.0.0.1", "[::1]"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        why = self._refusal(scope)
        if why is not None:
            await problem(send, HTTPStatus.FORBIDDEN, why)
        elif scope["method"] not in METHODS:
            await problem(send, HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", [(b"allow", b"GET, HEAD")])
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        hosts = self._allowed(scope)
        host = _values(scope, b"host")
        if len(host) != 1 or host[0].lower() not in hosts:
            return "Host does not name this address"
        origins = {f"http://{name}" for name in hosts}
        if any(origin.lower() not in origins for origin in _values(scope, b"origin")):
            return "Origin is another site"
        if any(site.lower() not in ("none", "same-origin") for site in _values(scope, b"sec-fetch-site")):
            return "Sec-Fetch-Site says that another site asks"
        return None

    def _allowed(self, scope: Scope) -> frozenset[str]:
        server = scope.get("server")
        if not self._wildcard or not server:
            return self._hosts
        host = server[0]  # an address of this machine, not a name that a page could have pointed here
        return self._hosts | {f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"}


async def problem(send: Send, status: HTTPStatus, detail: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer with problem details (RFC 9457)."""
    body = problem_body(status, detail)
    fields = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status.value, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def problem_body(status: HTTPStatus, detail: str) -> bytes:
    """Return the body of problem details."""
    return json.dumps({"title": status.phrase, "status": status.value, "detail": detail}).encode() + b"\n"


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
