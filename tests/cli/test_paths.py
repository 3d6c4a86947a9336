import importlib
from pathlib import Path

import pytest

from proxyd.cli import paths
from proxyd.cli.exits import CommandError


@pytest.fixture(autouse=True)
def surroundings():
    """The real functions, in place of the package's fixture."""
    importlib.reload(paths)


@pytest.mark.parametrize(
    ("variables", "uid", "state", "runtime"),
    [
        ({}, 0, "/var/lib/proxyd", "/run/proxyd"),
        ({"XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/y", "HOME": "/h"}, 0, "/var/lib/proxyd", "/run/proxyd"),
        ({"HOME": "/h"}, 1000, "/h/.local/state/proxyd", "/tmp/proxyd-1000"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/y"}, 1000, "/x/proxyd", "/y/proxyd"),
        ({"HOME": "/h", "XDG_STATE_HOME": "", "XDG_RUNTIME_DIR": ""}, 7, "/h/.local/state/proxyd", "/tmp/proxyd-7"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, 7, "/h/.local/state/proxyd", "/tmp/proxyd-7"),
    ],
)
def test_default_folders(variables, uid, state, runtime):
    assert str(paths.state_dir(variables, uid)) == state
    assert str(paths.runtime_dir(variables, uid)) == runtime


def test_a_private_folder_is_made_for_its_owner_alone(tmp_path):
    folder = paths.private(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert paths.private(folder) == folder


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(CommandError, match="others can write"):
        paths.private(tmp_path)


def test_a_link_or_a_file_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(CommandError):
            paths.private(tmp_path / name)


def test_somebody_else_s_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    with pytest.raises(CommandError, match="belongs to uid"):
        paths.private(tmp_path)


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="--state-dir"):
        paths.private(Path(tmp_path, "file", "below"))
