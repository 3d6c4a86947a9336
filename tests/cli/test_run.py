import sys
from pathlib import Path

from proxyd.cli import run


def test_control_is_told_absolute_paths_and_only_what_was_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = [sys.executable, "-P", "-m", "proxyd.cli.control"]
    folders = ["--state-dir", f"{tmp_path}/s", "--runtime-dir", f"{tmp_path}/r"]
    assert run.control_command(None, Path("s"), Path("r"), "") == [*start, *folders]
    assert run.control_command(Path("f.yaml"), Path("s"), Path("r"), "a.sock") == [
        *start, *folders, "--config", f"{tmp_path}/f.yaml", "--admin", f"{tmp_path}/a.sock",
    ]  # fmt: skip


def test_the_supervisor_gets_private_folders(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("proxyd.supervisor.main.run", lambda options: seen.append(options) or 7)
    assert run.run(None, tmp_path / "s", tmp_path / "r", "") == 7
    assert seen[0].control_command == run.control_command(None, tmp_path / "s", tmp_path / "r", "")
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o700 for name in "sr")
