"""The daemon and its configuration: whether it answers, as whom it runs, what it complains about."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import proxyd
from proxyd.cli import rpc
from proxyd.cli.doctor.findings import Finding, fail, ok, warn
from proxyd.cli.exits import CommandError

if TYPE_CHECKING:
    from proxyd.core.settings import Settings

SHOWN: Final = 5
"""Mistakes and problems that are printed; the commands that list them all are named."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon that answers."""

    status: Mapping[str, Any]
    environment: Mapping[str, Any]
    ca_pem: str
    uid: int

    @property
    def pid(self) -> int:
        """Of its supervisor."""
        return int(self.status["pid"])

    @property
    def proxy(self) -> str:
        """The proxy that clients are given; empty if none serves without a password."""
        return str(self.environment.get("proxy") or "")


def ask(admin: Path, explicit: bool) -> tuple[Daemon | None, Finding]:
    """Return the daemon that answers on ``admin``, and what there is to say about that."""
    try:
        status = rpc.call(admin, "status", any_owner=explicit)
        environment = rpc.call(admin, "environment", any_owner=explicit)
        pem = str(rpc.call(admin, "ca", any_owner=explicit)["pem"])
        uid = admin.stat().st_uid
    except rpc.Unreachable as error:
        if not explicit and not admin.exists():
            what = f"none runs (no {admin})"
            return None, warn("daemon", what, "proxyd run -c FILE, or 'proxyd exec -c FILE -- COMMAND' for one command")
        return None, fail("daemon", str(error), "start it: proxyd run -c FILE, or systemctl start proxyd")
    except CommandError as error:
        return None, fail("daemon", str(error), "name the daemon's socket with --admin")
    except OSError as error:
        return None, fail("daemon", f"{admin}: {error.strerror}", "name the daemon's socket with --admin")
    daemon = Daemon(status, environment, pem, uid)
    return daemon, _running(daemon)


def check(daemon: Daemon) -> list[Finding]:
    """Return what a running daemon is to be told about."""
    findings = [same_uid(daemon.uid, os.geteuid())]
    problems = [str(problem) for problem in daemon.status.get("problems", ())]
    findings += [warn("problem", problem, "") for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        findings.append(warn("problem", f"{len(problems) - SHOWN} more", "proxyd status lists them"))
    if not daemon.proxy:
        findings.append(
            warn(
                "listeners",
                "no forward listener serves without a password, so exec and env have nothing to point at",
                "add a listener of mode forward without users",
            )
        )
    return findings


def _running(daemon: Daemon) -> Finding:
    status = daemon.status
    version = str(status["version"])
    if version != proxyd.__version__:
        what = f"version {version} runs, this command is {proxyd.__version__}"
        return warn("daemon", what, "restart the daemon, so that both are of one version")
    if status["state"] != "ready":
        return warn("daemon", f"it is {status['state']}", "look at its log")
    return ok("daemon", f"ready, version {version}, pid {daemon.pid}, as uid {daemon.uid}")


def same_uid(daemon_uid: int, own_uid: int) -> Finding:
    """Say what the daemon's user means: the same uid is a convenience, its own uid is a boundary."""
    if daemon_uid == own_uid:
        who = "root, as you are" if own_uid == 0 else f"you (uid {own_uid})"
        return warn(
            "user",
            f"the daemon runs as {who}: whatever runs as the same user can read the files and the vault's key that its "
            "secrets come from, and may use every service",
            "for a boundary, give it a user of its own (packaging/systemd does); as it is, it is a convenience",
        )
    return ok("user", f"the daemon has a user of its own (uid {daemon_uid}), which is a boundary")


def versions() -> Finding:
    """Name the parts that most reports of a fault need."""
    import platform
    from importlib import metadata

    parts = [f"{name} {metadata.version(name)}" for name in ("trio", "cryptography", "pyOpenSSL", "h2", "httptools")]
    parts = [f"Python {platform.python_version()}", f"Linux {platform.release()}", *parts]
    return ok("versions", f"proxyd {proxyd.__version__}, {', '.join(parts)}")


def configuration(path: Path | None, state: Path, runtime: Path) -> tuple["Settings | None", list[Finding]]:
    """Check the file at ``path``, and the files that its secrets come from."""
    if path is None:
        return None, [ok("configuration", "no file to check (-c names one; proxyd init writes one)")]
    from proxyd.config.load import load
    from proxyd.reading.problems import ConfigError
    from proxyd.vault.sources import exposure

    try:
        settings = load(path, state, runtime)
    except ConfigError as error:
        findings = [fail("configuration", str(problem), "") for problem in error.problems[:SHOWN]]
        todo = f"proxyd check -c {path} lists every mistake"
        return None, [*findings[:-1], fail("configuration", findings[-1].what, todo)]
    counts = f"{len(settings.services)} services, {len(settings.secrets)} secrets"
    exposed = [warn("secret", text, "") for text in map(exposure, settings.secrets) if text]
    return settings, [ok("configuration", f"{path}: no mistakes, {counts}"), *exposed]


def ports(settings: "Settings") -> list[Finding]:
    """For a daemon that does not run: whether its addresses are free."""
    findings = []
    addresses = [(listener.name, listener.address) for listener in settings.listeners]
    if settings.admin_http:
        addresses.append(("admin", settings.admin_http))
    for name, address in addresses:
        host, _, port = address.rpartition(":")
        if not port.isdigit() or port == "0":
            continue
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, int(port)))
        except OSError as error:
            todo = f"find who has it: ss -ltnp 'sport = :{port}'; or change the address of {name}"
            findings.append(fail("address", f"{address} ({name}): {error.strerror}", todo))
    return findings
