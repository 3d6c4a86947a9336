"""A daemon with one service of the catalogue, whose endpoints are a double or a real server on loopback."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.daemon import Configuration, Daemon, environment
from tests.lab.pki import Pki

PLACEHOLDER = "proxyd-placeholder"
"""What stands in place of every credential of a client."""


def configuration(
    folder: Path,
    pki: Pki,
    services: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, str],
    **more: Any,
) -> Configuration:
    """Return a configuration with these services; ``secrets`` are values by name, given by the environment."""
    return {
        "listeners": [{"name": "apps", "mode": "forward", "address": "127.0.0.1:0", "unknown_hosts": "deny"}],
        "admin": {"socket": str(folder / "admin.sock")},
        "tls": {"extra_roots": str(pki.roots)},
        "egress": {"allow": ["127.0.0.0/8"], "ports": ["*"]},
        "services": {name: dict(service) for name, service in services.items()},
        "secrets": {name: {"env": variable_of(name)} for name in secrets},
        "telemetry": {"access_log": {"path": str(folder / "access.jsonl")}},
        **more,
    }


def variable_of(name: str) -> str:
    """Return the variable that holds the secret ``name`` for the daemon."""
    return "SECRET_" + "".join(char if char.isalnum() else "_" for char in name).upper()


class Proxied:
    """A running daemon, and the environment of clients that go through it with nothing but placeholders."""

    def __init__(self, daemon: Daemon, variables: Mapping[str, str]) -> None:
        self.daemon = daemon
        self.variables = dict(variables)
        """Variables of ``proxyd env``: proxies and roots under all their names."""

    @property
    def url(self) -> str:
        """The forward proxy."""
        return self.daemon.url

    @property
    def roots(self) -> str:
        """PEM of the roots that clients trust."""
        return self.variables["SSL_CERT_FILE"]

    def run(
        self, *command: str, variables: Mapping[str, str] = {}, seconds: float = 120, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a client; its home is a folder of the test. The caller looks at the exit code."""
        return subprocess.run(
            command,
            cwd=options.pop("cwd", self.daemon.folder),
            env={**environment(self.daemon.folder, self.variables), **variables},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            **options,
        )

    def output(self, *command: str, **options: Any) -> str:
        """Run a client that must succeed; return what it printed."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


def client_variables(daemon: Daemon) -> dict[str, str]:
    """Return what ``proxyd env`` says."""
    done = daemon.run("env", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def loopback(port: int, hosts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the keys of a service that lead to a double: its endpoint, and hosts where they are the user's."""
    return {"endpoints": [f"127.0.0.1:{port}"], **({"hosts": list(hosts)} if hosts else {})}
