"""Upgrades under load: ``python -m tests.soak.upgrade [--tunnels N] [--rate N] [--upgrades N] [--workers N]``.

Prints what happened as JSON and returns 0 when no request and no tunnel was lost.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.daemon import Configuration, Daemon, pause
from tests.lab.tunnels import Echo, Tunnels
from tests.soak.steady import HOST, KEY

SETTLE_SECONDS = 3.0
"""Load before the first, between, and after the last upgrade."""
END_SECONDS = 30


def configuration(folder: Path, origin: str, workers: int) -> Configuration:
    """Return a configuration with one service, the origin."""
    return {
        "listeners": [{"name": "apps", "mode": "forward", "address": f"{HOST}:0", "unknown_hosts": "tunnel"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "workers": workers,
        "egress": {"allow": ["127.0.0.0/8"], "ports": ["*"]},
        "services": {
            "origin": {
                "hosts": [origin],
                "base_url": f"http://{origin}",
                "insecure": True,
                "auth": {"scheme": "header", "name": "X-Api-Key", "secret": "origin/key"},
            }
        },
        "secrets": {"origin/key": {"env": "ORIGIN_KEY"}},
        "access": {"default": "allow"},
        "limits": {"connections": 20000, "connections_per_caller": 20000},
    }


@contextmanager
def process(*words: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a part of tests.soak.steady; its standard input's end is its own."""
    command = [sys.executable, "-m", "tests.soak.steady", *words]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


class Chatter:
    """Talks through every tunnel, over and over, from a thread."""

    def __init__(self, tunnels: Tunnels) -> None:
        self.faults: list[str] = []
        self.rounds = 0
        self._tunnels = tunnels
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> "Chatter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _talk(self) -> None:
        while not self._over.wait(0.2) and not self.faults:
            self.faults += self._tunnels.broken()
            self.rounds += 1


def soak(tunnels: int, rate: int, upgrades: int, workers: int, connections: int) -> dict[str, Any]:
    """Run it and return what happened."""
    with tempfile.TemporaryDirectory() as name, process("origin") as origin:
        assert origin.stdout is not None
        authority = f"{HOST}:{origin.stdout.readline().strip()}"
        folder = Path(name)
        config = configuration(folder, authority, workers)
        with Echo() as echo, Daemon(folder, config, {"ORIGIN_KEY": KEY}) as daemon:
            address = daemon.address()
            with (
                Tunnels(address, echo.authority, tunnels) as opened,
                process("client", str(address[1]), authority, str(rate), str(connections)) as client,
                Chatter(opened) as chatter,
            ):
                spans = []
                pause(SETTLE_SECONDS)
                for _ in range(upgrades):
                    began = time.monotonic()
                    done = daemon.run("upgrade", "--json", seconds=120)
                    assert done.returncode == 0, done.stdout + done.stderr + daemon.stderr
                    spans.append(round(time.monotonic() - began, 2))
                    pause(SETTLE_SECONDS)
                report, _ = client.communicate("", END_SECONDS)
                status = daemon.status()
            return {
                "tunnels": tunnels,
                "tunnel_rounds": chatter.rounds,
                "broken_tunnels": chatter.faults,
                "upgrades_seconds": spans,
                "generation": status["generation"],
                "draining": status["draining"],
                "totals": status["totals"],
                "load": json.loads(report),
            }


def main() -> int:
    """Parse, run, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.upgrade", description=__doc__)
    parser.add_argument("--tunnels", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--upgrades", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    words = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    outcome = soak(words.tunnels, words.rate, words.upgrades, words.workers, words.connections)
    print(json.dumps(outcome, indent=2))
    load = outcome["load"]
    good = not load["errors"] and not outcome["broken_tunnels"] and list(load["statuses"]) == ["200"]
    print("no error" if good else "ERRORS", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
