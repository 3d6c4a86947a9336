import pytest

from tests.cli.daemon import FakeDaemon


@pytest.fixture
def daemon(tmp_path):
    """A daemon that answers as tests tell it to, on ``admin.sock`` in ``tmp_path``."""
    with FakeDaemon(tmp_path / "admin.sock", {}) as running:
        yield running


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """No test meets the user's own folders or daemon."""
    for name in ("PROXYD_ADMIN", "WGETRC", "JAVA_TOOL_OPTIONS", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("proxyd.cli.paths.runtime_dir", lambda variables, uid: tmp_path / "run")
    monkeypatch.setattr("proxyd.cli.paths.state_dir", lambda variables, uid: tmp_path / "state")
