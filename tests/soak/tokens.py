"""Tokens of a rotating issuer on two hosts under kills: ``python -m tests.soak.tokens [--seconds N] [--latency N]``.

Two daemons with one Redis hold the same grant. The issuer answers slowly and replaces the refresh token each time; used
twice, an old one is good for a moment and gives what it gave (as issuers' grace periods do), and later never again.
Clients ask all the time while workers and control processes of both hosts are killed. Judged by the issuer's and the
vendor's own counts: one refresh for each life of a token, and no client saw 401. Prints what happened as JSON.
"""

import argparse
import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl

import psutil
import yaml

from tests.lab.daemon import PROXYD, AdminError, Configuration, Daemon, environment, pause
from tests.lab.redis import Redis

HOST = "vendor.example"
CLIENTS = 20
GRACE = 60.0
"""Seconds for which a refresh token that was replaced gives again what it gave."""
VALUES = {"LAB_ID": "id-of-the-lab", "LAB_SECRET": "secret-of-the-lab"}


class Servers:
    """The issuer and the vendor."""

    def __init__(self, latency: float, life: float) -> None:
        self.latency = latency
        self.life = life
        self.refreshes: list[float] = []
        """When a refresh token was replaced."""
        self.again = 0
        """Questions with a refresh token that was replaced a moment ago."""
        self.refused = 0
        self.seen: Counter[int] = Counter()
        self._current = "refresh-0"
        self._replaced: dict[str, tuple[float, dict[str, Any]]] = {}
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()
        self.issuer = self._serve(self._issue)
        self.vendor = self._serve(self._judge)

    def _serve(self, answer: Any) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, document = answer(dict(self.headers), dict(parse_qsl(body.decode())))
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST  # noqa: N815 - names of the standard library

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """A process that was killed ends its connections."""

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _issue(self, _: dict[str, str], form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        pause(self.latency)
        with self._lock:
            now, used = time.monotonic(), form.get("refresh_token", "")
            when, former = self._replaced.get(used, (0.0, {}))
            if former and now - when < GRACE:
                self.again += 1
                return 200, former
            if used != self._current:
                self.refused += 1
                return 400, {"error": "invalid_grant"}
            self.refreshes.append(now)
            number = len(self.refreshes)
            self._current = f"refresh-{number}"
            token = f"access-token-{number:04}"
            self._tokens[token] = now + self.life
            answer = {"access_token": token, "expires_in": self.life, "refresh_token": self._current}
            self._replaced[used] = (now, answer)
            return 200, answer

    def _judge(self, headers: dict[str, str], _: dict[str, str]) -> tuple[int, dict[str, Any]]:
        token = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
        with self._lock:
            good = self._tokens.get(token.removeprefix("Bearer "), 0.0) > time.monotonic()
            status = 200 if good else 401
            self.seen[status] += 1
        return status, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.issuer, self.vendor):
            server.shutdown()
            server.server_close()


def configuration(folder: Path, servers: Servers, store: str) -> Configuration:
    """Return the configuration of one host."""
    definition = {
        "name": "lab-vendor",
        "title": "A vendor of the lab",
        "category": "other",
        "hosts": [HOST],
        "base_url": f"http://{HOST}",
        "fields": {name: {"title": name} for name in ("client_id", "client_secret", "refresh_token")},
        "schemes": [
            {
                "name": "oauth",
                "fields": ["client_id", "client_secret", "refresh_token"],
                "token": {
                    "flow": "refresh_token",
                    "url": f"http://localhost:{servers.issuer.server_address[1]}/token",
                    "hosts": ["localhost"],
                },
                "apply": [{"scheme": "bearer", "secret": "access_token"}],
            }
        ],
        "probe": {"path": "/"},
        "documentation": ["https://vendor.example/docs"],
    }
    path = folder / "lab-vendor.yaml"
    path.write_text(yaml.safe_dump(definition))
    return {
        "workers": 2,
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "access": {"default": "allow"},
        "store": {"url": store},
        "catalogue": [str(path)],
        "services": {
            "lab": {
                "use": "lab-vendor",
                "secret": {"client_id": "lab/id", "client_secret": "lab/secret", "refresh_token": "lab/refresh"},
                "insecure": True,
                "endpoints": [f"127.0.0.1:{servers.vendor.server_address[1]}"],
            }
        },
        "secrets": {"lab/id": {"env": "LAB_ID"}, "lab/secret": {"env": "LAB_SECRET"}},
    }


class Clients:
    """Threads that ask until they are told to end."""

    def __init__(self, addresses: list[tuple[str, int]]) -> None:
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(addresses[number % len(addresses)],), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, address: tuple[str, int]) -> None:
        while not self._over.wait(0.2):
            began = time.monotonic()
            connection = http.client.HTTPConnection(*address, timeout=60)
            try:
                connection.request("GET", f"http://{HOST}/", headers={"Host": HOST})
                response = connection.getresponse()
                response.read()
                self.counts[str(response.status)] += 1
            except (OSError, http.client.HTTPException):
                self.counts["broken"] += 1  # its worker was killed
            finally:
                connection.close()
            self.slowest = max(self.slowest, time.monotonic() - began)


def kill_one(daemon: Daemon, victims: Counter[str]) -> None:
    """Kill a worker or the control process, at random."""
    with contextlib.suppress(OSError, AssertionError, AdminError, psutil.NoSuchProcess):
        status = daemon.status()
        workers = [worker["pid"] for worker in status["workers"]]
        chosen = random.choice([status["control_pid"], status["control_pid"], *workers])
        psutil.Process(chosen).send_signal(signal.SIGKILL)
        victims["control" if chosen == status["control_pid"] else "worker"] += 1


def host(folder: Path, name: str, servers: Servers, store: str) -> Daemon:
    """Make one host, whose vault holds the grant."""
    own = folder / name
    own.mkdir()
    folders = ["--state-dir", str(own / "state"), "--runtime-dir", str(own / "run")]
    command = [PROXYD, "secret", "set", "lab/refresh", *folders]
    subprocess.run(command, input=b"refresh-0\n", env=environment(own), check=True, capture_output=True)
    return Daemon(own, configuration(own, servers, store), VALUES)


def soak(seconds: float, latency: float, life: float, longest_gap: float) -> dict[str, Any]:
    """Run it and return what happened."""
    victims: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="proxyd-soak-") as name,
        Servers(latency, life) as servers,
        Redis(Path(name)) as redis,
        host(Path(name), "one", servers, redis.url) as one,
        host(Path(name), "two", servers, redis.url) as two,
    ):
        addresses = [one.address(), two.address()]
        deadline = time.monotonic() + latency * 3 + 30
        while not servers.refreshes and time.monotonic() < deadline:
            pause(0.1)
        pause(1.5)  # the other host looks at the store each second
        clients = Clients(addresses)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            pause(random.uniform(longest_gap / 4, longest_gap))
            kill_one(random.choice([one, two]), victims)
        clients.end()
        gaps = [later - earlier for earlier, later in zip(servers.refreshes, servers.refreshes[1:], strict=False)]
        return {
            "seconds": seconds,
            "latency": latency,
            "life": life,
            "kills": dict(victims),
            "refreshes": len(servers.refreshes),
            "shortest_time_between_refreshes": round(min(gaps), 1) if gaps else None,
            "questions_repeated_after_a_kill": servers.again,
            "refused_by_the_issuer": servers.refused,
            "vendor": {str(status): count for status, count in servers.seen.items()},
            "clients": dict(clients.counts),
            "slowest_answer_seconds": round(clients.slowest, 1),
            "ok": bool(gaps) and min(gaps) >= life / 2 and not servers.refused and not clients.counts["401"],
        }


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--latency", type=float, default=15.0)
    parser.add_argument("--life", type=float, default=90.0)
    parser.add_argument("--gap", type=float, default=40.0, help="seconds between two kills at most")
    options = parser.parse_args()
    result = soak(options.seconds, options.latency, options.life, options.gap)
    print(json.dumps(result, indent=2))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
