"""One request through a listener of the daemon, as an application would send it."""

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import proxyd
from proxyd.cli.exits import CommandError

SECONDS: Final = 60.0
"""For one answer: longer than any default of the data plane."""

BODY_BYTES: Final = 64 * 1024
"""Read of an answer."""

_NO_WAY: Final = "the configuration has no listener that takes clients without a password; `proxyd test` uses one"


@dataclass(slots=True)
class Reply:
    """What came back."""

    status: int = 0
    """0: nothing did, and ``problem`` says why."""
    headers: dict[str, str] = field(default_factory=dict)
    """Names in small letters; of several of one name the last."""
    body: bytes = b""
    seconds: float = 0.0
    caller: str = ""
    """The client as exchanges name it: ``ip:port``; empty: it has no address."""
    problem: str = ""


class _OverUnix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Way:
    """How this process reaches the data plane. CommandError: it does not."""

    def __init__(self, environment: Mapping[str, Any]) -> None:
        """``environment`` is the daemon's answer of that name."""
        self._environment = environment
        if not any(environment.get(key) for key in ("proxy", "proxy_socket", "gateway_socket", "gateway_url")):
            raise CommandError(_NO_WAY)

    def send(self, probe: Mapping[str, Any], seconds: float = SECONDS) -> Reply:
        """Send what an entry of ``probes`` says."""
        try:
            connection, target, extra = self._route(probe)
        except (OSError, ValueError) as error:
            return Reply(problem=str(error))
        begin = time.monotonic()
        reply = Reply()
        headers = {**_headers(probe), **extra}
        try:
            with contextlib.closing(connection):
                connection.timeout = seconds
                connection.connect()
                reply.caller = _address(connection.sock)
                connection.request(probe["method"], target, probe["body"].encode() or None, headers)
                with connection.getresponse() as answer:
                    reply.status = answer.status
                    reply.headers = {name.lower(): value for name, value in answer.getheaders()}
                    reply.body = answer.read(BODY_BYTES)
        except TimeoutError:
            reply.problem = f"no answer in {seconds:g} s"
        except (OSError, http.client.HTTPException) as error:
            reply.problem = f"the listener ended the connection: {error or type(error).__name__}"
        reply.seconds = time.monotonic() - begin
        return reply

    def _route(self, probe: Mapping[str, Any]) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        """Return a connection, the target and further fields. ValueError: no listener can take the request."""
        given = self._environment
        host = urlsplit(probe["url"]).netloc
        if given.get("proxy"):
            return _tcp(given["proxy"]), probe["url"], {"Host": host}
        if given.get("proxy_socket"):
            return _OverUnix(given["proxy_socket"], SECONDS), probe["url"], {"Host": host}
        path = probe.get("gateway_path")
        if path is None:
            raise ValueError(f"{host} is not behind the gateway; only a forward listener leads there")
        if given.get("gateway_socket"):
            return _OverUnix(given["gateway_socket"], SECONDS), path, {"Host": probe["service"]}
        token = given.get("gateway_token_file")
        extra = {"Proxyd-Token": Path(token).read_text().strip()} if token else {}
        return _tcp(given["gateway_url"]), f"/{probe['service']}{path}", extra


def record_of(reply: Reply, exchanges: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the daemon's record of the exchange; None: it is not (yet) among ``exchanges``."""
    return next(iter(_matching(reply, exchanges)), None)


def _matching(reply: Reply, exchanges: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in reversed(exchanges):
        if one.get("caller") == reply.caller if reply.caller else one.get("pid") == os.getpid():
            yield one


def _headers(probe: Mapping[str, Any]) -> dict[str, str]:
    usual = {
        "User-Agent": f"proxyd-test/{proxyd.__version__}",
        "Accept": "application/json",
        "Cache-Control": "no-cache",  # what counts is what the service says now
        "Connection": "close",
    }
    given = {str(name): str(value) for name, value in probe["headers"].items()}
    names = {name.lower() for name in given}
    return {**{name: value for name, value in usual.items() if name.lower() not in names}, **given}


def _tcp(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=SECONDS)


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) and ":" not in name[0] else ""
