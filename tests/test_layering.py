"""Imports point down only; members of one row are strangers (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "proxyd"
PLUGINS = ROOT.parent / "plugins" / "proxyd_plugins"

ROWS = (
    {"core"},
    {"wire", "net", "auth", "caching", "limiting"},
    {"downstream", "upstream", "filters"},
    {"store"},
    {"telemetry"},
    {"sdk"},
    {"reading"},
    {"catalog"},
    {"worker", "supervisor", "control", "config", "vault", "tokens", "certs"},
    {"admin"},
    {"cli"},
)
HEIGHT = {package: row for row, packages in enumerate(ROWS) for package in packages}
ROOMS_OF_CONTROL = {"config", "vault", "tokens", "certs"}


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "proxyd" and len(parts) > 1 and parts[1] in HEIGHT:
                yield node.lineno, parts[1]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    relative = path.relative_to(ROOT)
    if len(relative.parts) == 1:
        return
    own = relative.parts[0]
    assert own in HEIGHT, f"package {own} has no height in the layering table"
    for line, other in imports(path):
        if other == own or HEIGHT[other] < HEIGHT[own]:
            continue
        if own == "control" and other in ROOMS_OF_CONTROL:
            continue
        raise AssertionError(f"{relative}:{line}: {own} imports {other}, which is not below it")


@pytest.mark.parametrize("path", sorted(PLUGINS.rglob("*.py")), ids=lambda p: str(p.relative_to(PLUGINS)))
def test_plugins_import_the_sdk_and_nothing_else_of_proxyd(path):
    for line, other in imports(path):
        assert other == "sdk", f"{path.name}:{line}: a plugin imports proxyd.{other}; it may import proxyd.sdk alone"


def test_proxyd_does_not_import_its_plugins():
    for path in ROOT.rglob("*.py"):
        assert "import proxyd_plugins" not in path.read_text(), path
        assert "from proxyd_plugins" not in path.read_text(), path
