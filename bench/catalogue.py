"""What the catalogue costs at a start: ``python -m bench.catalogue``.

A daemon with one plain service against one that uses all services of the catalogue, started by turns. Real time from
the start of the process until a worker answers a first request.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.machine import describe
from bench.ports import LOOPBACK, free_ports
from proxyd.catalog.definition import Definition
from proxyd.catalog.load import load
from proxyd.catalog.shelf import SHIPPED

_CATEGORIES: Final = ("cloud", "monitoring", "development")
_PATIENCE: Final = 30.0
"""Seconds that a start may take."""

_OPTIONS: Final = {
    "tenancy": "ocid1.tenancy.oc1..a",
    "user": "ocid1.user.oc1..a",
    "fingerprint": ":".join(["0a"] * 16),
    "region": "eu-frankfurt-1",
}
"""What services want for which no scheme is without options."""


def all_services() -> dict[str, Any]:
    """Return a section for each service of the three categories, by its first scheme that needs no option."""
    found = {}
    for path in sorted(SHIPPED.glob("*.yaml")):
        definition = load(path)
        if definition.category in _CATEGORIES:
            found[definition.name] = _section(definition)
    return found


def _section(definition: Definition) -> dict[str, Any]:
    fields = definition.fields
    schemes = [one for one in definition.schemes if all(fields[name].secret for name in one.fields)]
    scheme = (schemes or definition.schemes)[0]
    section: dict[str, Any] = {"scheme": scheme.name}
    secrets = {name: "bench/secret" for name in scheme.fields if fields[name].secret}
    if secrets:
        section["secret"] = secrets
    options = {name: _OPTIONS[name] for name in scheme.fields if name in _OPTIONS and not fields[name].secret}
    if options:
        section["options"] = options
    yours = definition.your_hosts
    if yours is not None and (yours.required or scheme.own_host or not definition.hosts):
        suffix = yours.suffixes[0].removeprefix("*.") if yours.suffixes else f"{definition.name}.example"
        section["hosts"] = [f"{definition.name}.{suffix}"]
    return section


def start(folder: Path, services: dict[str, Any]) -> float:
    """Return seconds until a daemon with ``services`` was ready."""
    (port,) = free_ports(1)
    config = {
        "listeners": [{"name": "apps", "mode": "forward", "address": f"{LOOPBACK}:{port}"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "services": services,
        "secrets": {"bench/secret": {"env": "BENCH_SECRET"}, "bench/plain": {"env": "BENCH_SECRET"}},
    }
    path = folder / "proxyd.yaml"
    path.write_text(json.dumps(config))
    command = [str(Path(sys.executable).with_name("proxyd")), "run", "-c", str(path)]
    begin = time.perf_counter()
    log = (folder / "log").open("wb")
    pause = threading.Event()
    with subprocess.Popen(command, env={**os.environ, "BENCH_SECRET": "s"}, stdout=log, stderr=log) as daemon:
        try:
            while not _answers(port):
                if daemon.poll() is not None or time.perf_counter() - begin > _PATIENCE:
                    raise SystemExit(f"the daemon did not start:\n{(folder / 'log').read_text()[-2000:]}")
                pause.wait(0.005)
            return time.perf_counter() - begin
        finally:
            daemon.terminate()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), 1) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: nowhere\r\n\r\n")
            return client.recv(1) != b""
    except OSError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(prog="python -m bench.catalogue", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args(arguments).rounds
    every = all_services()
    plain = {"plain": {"hosts": ["api.example"], "auth": {"scheme": "bearer", "secret": "bench/plain"}}}
    times: dict[str, list[float]] = {"plain": [], "all": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for name, services in (("plain", plain), ("all", every)):
                own = Path(folder) / f"{name}{turn}"
                own.mkdir()
                times[name].append(start(own, services))
    medians = {name: statistics.median(values) for name, values in times.items()}
    more = (medians["all"] - medians["plain"]) * 1000
    print(describe())
    print(f"{len(every)} services: {medians['all']:.3f} s; one: {medians['plain']:.3f} s; {more:.0f} ms more")
    print(f"bar: at most 150 ms more: {'met' if more <= 150 else 'NOT MET'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
