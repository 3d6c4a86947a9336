"""A quota under kills: ``python -m tests.soak.quota [--kills N] [--quota N] [--workers N]``.

Clients ask all the time while workers and control are killed with SIGKILL at random moments; then the quota is spent to
its end. The origin's count is the judge: never over the quota, and what the daemon says was used is at least that.
Prints what happened as JSON and returns 0 when it was so.
"""

import argparse
import http.client
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from tests.lab.daemon import AdminError, Configuration, Daemon, pause, wait_until

HOST = "quota.example"
CLIENTS = 8
LONGEST_GAP = 0.6
"""Seconds between two kills at most."""
END_SECONDS = 60.0
QUIET = 6.0
"""Seconds of nothing but refusals after which the quota is over: what killed members held counts as spent by then."""


class Vendor:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._lock = threading.Lock()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                with vendor._lock:
                    vendor.asked += 1
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A worker that was killed ends its connections."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Clients:
    """Threads that ask, each on a connection of its own, until they are told to end."""

    def __init__(self, daemon: Daemon, pause_seconds: float) -> None:
        self.counts: Counter[str] = Counter()
        self.last_success = time.monotonic()
        self._address = daemon.address()
        self._pause = pause_seconds
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.wait(self._pause):
            try:
                connection = connection or http.client.HTTPConnection(*self._address, timeout=10)
                connection.request("GET", f"http://{HOST}/", headers={"Host": HOST})
                response = connection.getresponse()
                response.read()
                self.counts[str(response.status)] += 1
                if response.status == 200:
                    self.last_success = time.monotonic()
            except (OSError, http.client.HTTPException):
                self.counts["broken"] += 1  # its worker was killed
                if connection is not None:
                    connection.close()
                connection = None


def configuration(folder: Path, port: int, quota: int, workers: int) -> Configuration:
    """Return a configuration with one service that has a quota."""
    return {
        "workers": workers,
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "services": {
            "quota": {
                "hosts": [HOST],
                "base_url": f"http://{HOST}",
                "insecure": True,
                "endpoints": [f"127.0.0.1:{port}"],
                "retry": {"attempts": 1},
                "limits": [{"name": "month", "quota": f"{quota}/month"}],
            }
        },
    }


def victim(daemon: Daemon) -> psutil.Process | None:
    """Return a worker or control, None while nobody says who they are."""
    try:
        status = daemon.status()
    except (OSError, AssertionError, AdminError):
        return None
    pids = [worker["pid"] for worker in status["workers"]]
    return psutil.Process(random.choice([status["control_pid"], *pids]))


def used(daemon: Daemon) -> int:
    return int(daemon.admin.call("quotas")[0]["used"])


def soak(kills: int, quota: int, workers: int) -> dict[str, Any]:
    """Run it and return what happened."""
    vendor = Vendor()
    victims: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="proxyd-soak-") as name:
        folder = Path(name)
        with Daemon(folder, configuration(folder, vendor.port, quota, workers), {}) as daemon:
            clients = Clients(daemon, pause_seconds=0.02)
            while sum(victims.values()) < kills:
                pause(random.uniform(0.05, LONGEST_GAP))
                chosen = victim(daemon)
                if chosen is not None:
                    kind = "control" if chosen.pid == daemon.status()["control_pid"] else "worker"
                    chosen.send_signal(signal.SIGKILL)
                    victims[kind] += 1
            amid = dict(clients.counts)
            clients.end()
            clients = Clients(daemon, pause_seconds=0.0)
            deadline = time.monotonic() + END_SECONDS
            while time.monotonic() < deadline and time.monotonic() - clients.last_success < QUIET:
                pause(0.1)
            clients.end()
            wait_until(lambda: used(daemon) >= vendor.asked, "the daemon's own count")
            spent = used(daemon)
    vendor.close()
    return {
        "kills": dict(victims),
        "quota": quota,
        "vendor": vendor.asked,
        "used": spent,
        "lost_with_leases": spent - vendor.asked,
        "answers_amid_kills": amid,
        "ok": vendor.asked <= quota and vendor.asked <= spent,
    }


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--quota", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    result = soak(options.kills, options.quota, options.workers)
    print(json.dumps(result, indent=2))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
