import sys
from pathlib import Path

import pytest

from proxyd.cli import run


def test_control_is_told_absolute_paths_and_only_what_was_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = [sys.executable, "-P", "-m", "proxyd.cli.control"]
    folders = ["--state-dir", f"{tmp_path}/s", "--runtime-dir", f"{tmp_path}/r"]
    assert run.control_command(None, Path("s"), Path("r"), "") == [*start, *folders]
    assert run.control_command(Path("f.yaml"), Path("s"), Path("r"), "a.sock") == [
        *start, *folders, "--config", f"{tmp_path}/f.yaml", "--admin", f"{tmp_path}/a.sock",
    ]  # fmt: skip


def test_a_script_of_an_interpreter_s_is_started_by_its_first_line_again(tmp_path):
    script = tmp_path / "proxyd"
    script.write_text("#!/venv/bin/python -sP\nimport proxyd\n")
    script.chmod(0o755)
    words = ["/venv/bin/python", str(script), "run", "-c", "f.yaml"]
    assert run.own_command(words, "/venv/bin/python") == [str(script), "run", "-c", "f.yaml"]


@pytest.mark.parametrize(
    "words",
    [
        ["python3", "-m", "proxyd.cli.main", "run"],
        ["python3", "-P", "{script}", "run"],
        ["/other/python", "{script}", "run"],
        ["python3", "{plain}", "run"],
        ["python3"],
    ],
)
def test_any_other_command_line_is_given_to_the_same_interpreter_again(tmp_path, words):
    for name, mode in (("script", 0o755), ("plain", 0o644)):
        (tmp_path / name).write_text("#!/venv/bin/python\n")
        (tmp_path / name).chmod(mode)
    words = [word.format(script=tmp_path / "script", plain=tmp_path / "plain") for word in words]
    assert run.own_command(words, "/usr/bin/python3") == ["/usr/bin/python3", *words[1:]]


def test_the_next_start_gets_the_environment_of_this_one(monkeypatch):
    monkeypatch.setenv("TICKETS_TOKEN", "s3cret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("PROXYD_ROLE", "candidate:5")
    environ = run.own_environment()
    assert (environ["TICKETS_TOKEN"], environ["NOTIFY_SOCKET"]) == ("s3cret", "/run/notify")
    assert not environ.keys() & {"LISTEN_FDS", "PROXYD_ROLE"}


def test_the_supervisor_gets_private_folders(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("proxyd.supervisor.main.run", lambda options: seen.append(options) or 7)
    assert run.run(None, tmp_path / "s", tmp_path / "r", "") == 7
    assert seen[0].control_command == run.control_command(None, tmp_path / "s", tmp_path / "r", "")
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o700 for name in "sr")
