"""A fleet that shares a vendor's limit: ``python -m bench.fleet [--fault kept|lost] [--seconds N]``.

Two daemons of two workers each share a Redis; 50 clients ask as fast as they are answered; the vendor double allows 10
a second and 100 in 20 seconds (an hour of 1000, made short). With ``--fault`` Redis is killed and started again in the
middle, with its data (``kept``) or without (``lost``), and one daemon is killed. Prints JSON; returns 0 when the
vendor refused nothing, no client saw an error, and (without a fault) 95 % of the quota was used.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import trio

from bench.fleet.clients import Clients
from bench.peers.proxyd import program
from bench.ports import LOOPBACK, answers, free_ports
from bench.processes import Tree, pause

PER_SECOND = 10
LONG = (100, 20.0)
START_PATIENCE = 30.0
REDIS_AWAY = 0.7
"""Seconds between Redis' end and its next start."""

CONFIG = """\
listeners: [{{name: apps, mode: forward, address: "{address}"}}]
admin: {{socket: {folder}/admin.sock, http: "{loopback}:{admin_port}"}}
workers: 2
store: {{url: "redis://{loopback}:{redis_port}/0"}}
egress: {{allow: [127.0.0.0/8], ports: ["*"]}}
services:
  vendor:
    hosts: ["{vendor}"]
    base_url: http://{vendor}
    insecure: true
    limits:
      - {{name: second, window: {second}/1s, mode: queue, max_wait: 120s}}
      - {{name: hour, window: {long}/{long_seconds:g}s, mode: queue, max_wait: 120s}}
telemetry: {{access_log: {{path: {folder}/access.jsonl}}}}
"""


class Redis:
    """A Redis whose data outlive it where they are to: written at its end, or with every write."""

    def __init__(self, folder: Path, *, keeps: bool) -> None:
        folder.mkdir()
        (self.port,) = free_ports(1)
        self._folder = folder
        self._keeps = keeps
        self._tree: Tree | None = None

    def start(self) -> None:
        """Start, and return when it answers."""
        append = ["--appendonly", "yes", "--appendfsync", "always"] if self._keeps else ["--appendonly", "no"]
        words = ["--port", str(self.port), "--bind", LOOPBACK, "--save", "", "--dir", str(self._folder), *append]
        program = shutil.which("redis-server") or "valkey-server"
        self._tree = Tree([program, *words], self._folder / "redis.log")
        self._tree.wait_until(lambda: answers(self.port), START_PATIENCE)

    def kill(self) -> None:
        """End it at once."""
        if self._tree is not None:
            for pid in self._tree.pids():
                psutil.Process(pid).kill()
            self._tree.stop()
            self._tree = None


def start_daemon(folder: Path, redis_port: int, vendor: str) -> tuple[Tree, int]:
    """Start a daemon and wait until it is ready; return it and its port."""
    folder.mkdir()
    port, admin_port = free_ports(2)
    text = CONFIG.format(
        address=f"{LOOPBACK}:{port}", folder=folder, loopback=LOOPBACK, admin_port=admin_port, redis_port=redis_port,
        vendor=vendor, second=PER_SECOND, long=LONG[0], long_seconds=LONG[1],
    )  # fmt: skip
    (folder / "proxyd.yaml").write_text(text)
    words = ["run", "-c", str(folder / "proxyd.yaml"), "--state-dir", str(folder / "state")]
    tree = Tree([*program(), *words, "--runtime-dir", str(folder / "run")], folder / "output.log")
    tree.wait_until(lambda: _is_ready(admin_port), START_PATIENCE)
    return tree, port


def kill_tree(tree: Tree) -> None:
    """Kill a daemon, its control and its workers, at once."""
    for pid in tree.pids():
        try:
            psutil.Process(pid).send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def measure(folder: Path, seconds: float, clients: int, fault: str) -> dict[str, Any]:
    """Run once; return what the vendor and the clients saw."""
    with ExitStack() as stack:
        double = subprocess.Popen(
            [sys.executable, "-m", "bench.fleet.double", json.dumps({"windows": [[PER_SECOND, 1.0], LONG]})],
            stdout=subprocess.PIPE,
        )
        stack.callback(_end, double)
        assert double.stdout is not None
        vendor = f"{LOOPBACK}:{json.loads(double.stdout.readline())['port']}"
        redis = Redis(folder / "redis", keeps=fault != "lost")
        redis.start()
        stack.callback(redis.kill)
        daemons = []
        for number in range(2):
            daemons.append(start_daemon(folder / f"daemon{number}", redis.port, vendor))
            stack.callback(daemons[-1][0].stop)
        events: dict[str, float] = {}
        crowd = Clients([port for _, port in daemons], vendor)
        trio.run(partial(_play, crowd, redis, daemons[1][0], seconds, clients, fault, events))
        with urllib.request.urlopen(f"http://{vendor}/ledger", timeout=10) as answer:
            ledger = json.load(answer)
    return _summary(ledger, crowd, seconds, fault, events)


async def _play(
    crowd: Clients, redis: Redis, victim: Tree, seconds: float, clients: int, fault: str, events: dict[str, float]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.run, clients, seconds)
        if fault:
            await trio.sleep(seconds / 3)
            events["redis_killed"] = time.monotonic()
            redis.kill()
            await trio.sleep(REDIS_AWAY)
            await trio.to_thread.run_sync(redis.start)
            events["redis_started"] = time.monotonic()
            await trio.sleep(seconds / 6)
            events["daemon_killed"] = time.monotonic()
            kill_tree(victim)


def _summary(
    ledger: dict[str, Any], crowd: Clients, seconds: float, fault: str, events: dict[str, float]
) -> dict[str, Any]:
    times = ledger.pop("times")
    within = [when for when in times if when < times[0] + seconds]
    limit, span = LONG
    whole, rest = divmod(seconds, span)
    most = int(whole) * limit + min(limit, PER_SECOND * int(rest))
    errors = {str(status): count for status, count in crowd.tally.statuses.items() if status != 200}
    return {
        "fault": fault or "none", "seconds": seconds, "quota": most, "used": len(within),
        "share": round(len(within) / most, 3), "vendor_refused": len(ledger["refused"]),
        "most_in_windows": ledger["most"], "answered": crowd.tally.statuses[200], "client_errors": errors,
        "connections_broken": crowd.tally.broken,
        "events": {name: round(when - times[0], 2) for name, when in events.items()},
        "refused_at": [round(when - times[0], 2) for when in ledger["refused"]],
    }  # fmt: skip


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


def main() -> int:
    """Measure, print, judge."""
    words = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    words.add_argument("--fault", choices=["kept", "lost"], default="")
    words.add_argument("--seconds", type=float, default=40.0, help="of load (40: two long windows)")
    words.add_argument("--clients", type=int, default=50)
    options = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as folder:
        outcome = measure(Path(folder), options.seconds, options.clients, options.fault)
        pause(0.1)
    print(json.dumps(outcome, indent=1))
    is_right = not outcome["vendor_refused"] and not outcome["client_errors"]
    return 0 if is_right and (options.fault or outcome["share"] >= 0.95) else 1


if __name__ == "__main__":
    sys.exit(main())
