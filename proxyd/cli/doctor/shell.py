"""The environment that programs start from: proxies, exceptions from them, secrets, and the system's store of roots."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from proxyd.cli.authority import Store
from proxyd.cli.doctor.findings import Finding, fail, ok, warn
from proxyd.cli.variables import PLACEHOLDER

if TYPE_CHECKING:
    from proxyd.core.settings import Settings

PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
EXCEPTIONS: Final = ("NO_PROXY", "no_proxy")
_SHOWN: Final = 3


def proxies(variables: Mapping[str, str], own: str) -> Finding:
    """Judge the proxy variables; ``own`` is the daemon's proxy, empty when none runs."""
    present = {name: _address(variables[name]) for name in PROXIES if variables.get(name)}
    if not present:
        return ok("proxy variables", "none is set here; proxyd exec and proxyd env set them")
    foreign = {name: address for name, address in present.items() if address != _address(own) or not own}
    if not foreign:
        return ok("proxy variables", "this shell goes through the daemon")
    name, address = next(iter(foreign.items()))
    return warn(
        "proxy variables",
        f"{name} points at {address}, which is not proxyd; programs started without proxyd exec go there",
        'eval "$(proxyd env)" replaces it for this shell',
    )


def exceptions(variables: Mapping[str, str], settings: "Settings | None") -> list[Finding]:
    """Judge NO_PROXY: entries that take a service's host past the proxy."""
    findings = []
    hosts = [pattern.host for service in settings.services for pattern in service.hosts] if settings else []
    for name in EXCEPTIONS:
        entries = [entry.strip() for entry in variables.get(name, "").split(",") if entry.strip()]
        past = sorted({host for host in hosts for entry in entries if _covers(entry, host)})
        if "*" in entries:
            todo = f"unset {name}, or use proxyd exec, which empties it"
            findings.append(warn(name, "* switches every proxy off", todo))
        elif past:
            shown = ", ".join(past[:_SHOWN]) + (" …" if len(past) > _SHOWN else "")
            todo = f"take them out of {name}, or use proxyd exec, which empties it"
            findings.append(warn(name, f"it takes hosts of services past the proxy, without credential: {shown}", todo))
        elif entries:
            findings.append(ok(name, "no host of a service is among its exceptions"))
    return findings


def held(variables: Mapping[str, str], names: Iterable[str]) -> list[Finding]:
    """Name the secrets of the running daemon that stand in this environment as well."""
    there = [name for name in names if variables.get(name) and variables[name] != PLACEHOLDER]
    if not there:
        return []
    shown = ", ".join(there[:_SHOWN]) + (" …" if len(there) > _SHOWN else "")
    what = f"{shown}: proxyd holds it, and so does every program started from here without proxyd exec"
    return [warn("secrets here", what, f"unset {' '.join(there[:_SHOWN])}, in this shell and where it was set")]


def store(pem: str, system: Store) -> Finding:
    """Judge the system's store of roots; ``pem`` is the current root, empty when there is none."""
    if not system.folder.is_dir():
        return ok("system's roots", "no Debian-like store here; proxyd exec needs none")
    try:
        stored = system.path.read_text()
    except FileNotFoundError:
        return ok("system's roots", "the local CA is not among them, and proxyd exec needs none ('proxyd ca install')")
    except (OSError, UnicodeDecodeError):
        return warn("system's roots", f"{system.path} cannot be read", "proxyd ca install")
    if pem and stored.strip() != pem.strip():
        what = f"{system.path} is another CA than the daemon's, so programs that trust it refuse its certificates"
        return fail("system's roots", what, "proxyd ca install")
    return ok("system's roots", "the local CA is among them")


def ca_pem(state: Path) -> str:
    """Return the root in the state folder, or nothing."""
    try:
        return (state / "ca.pem").read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _covers(entry: str, host: str) -> bool:
    """Whether an entry covers ``host``, as curl and Go read it: a name covers its subdomains too."""
    name = entry.lower().rpartition(":")[0] if entry.rpartition(":")[2].isdigit() else entry.lower()
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(proxy: str) -> str:
    """Return ``host:port`` of a proxy URL; a user name or password in it is nobody's business."""
    try:
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return f"{url.hostname}:{url.port or 80}"
    except ValueError:
        return "something that is no URL"
