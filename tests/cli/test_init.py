import json
import stat

import pytest

from proxyd.cli.exits import CommandError
from proxyd.cli.init import init
from proxyd.cli.main import main
from proxyd.config.load import load

VARIABLES = {"GITHUB_TOKEN": "s3cret", "ACME_TOKEN": "s3cret", "AWS_SECRET_ACCESS_KEY": "s3cret"}


def run(target, home, **options):
    return init(target, VARIABLES, home, **{"force": False, "stdout": False, "as_json": False, **options})


def test_the_file_is_private_loads_and_holds_no_value(tmp_path, capsys):
    target = tmp_path / "proxyd.yaml"
    assert run(target, tmp_path) == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [service.name for service in load(target, tmp_path, tmp_path).services] == ["github"]
    assert "s3cret" not in target.read_text() + capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [target]


def test_what_exists_is_replaced_only_by_force(tmp_path):
    target = tmp_path / "proxyd.yaml"
    target.write_text("mine")
    with pytest.raises(CommandError, match="--force") as caught:
        run(target, tmp_path)
    assert caught.value.code == 2
    assert target.read_text() == "mine"
    assert run(target, tmp_path, force=True) == 0
    assert "github" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_dangling_link_is_not_followed(tmp_path):
    target = tmp_path / "proxyd.yaml"
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CommandError, match="exists"):
        run(target, tmp_path)
    run(target, tmp_path, force=True)
    assert not target.is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_stdout_writes_nothing(tmp_path, capsys):
    target = tmp_path / "proxyd.yaml"
    assert run(target, tmp_path, stdout=True) == 0
    assert not target.exists()
    assert "listeners:" in capsys.readouterr().out


def test_json_tells_what_was_found(tmp_path, capsys):
    target = tmp_path / "proxyd.yaml"
    assert run(target, tmp_path, as_json=True) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["file"] == str(target)
    assert answer["services"][0]["secrets"] == [{"name": "github/token", "source": "env", "env": "GITHUB_TOKEN"}]
    assert [entry["found"] for entry in answer["not_used"]] == ["AWS_SECRET_ACCESS_KEY"]
    assert answer["unknown_variables"] == ["ACME_TOKEN"]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(CommandError, match="No such file"):
        run(tmp_path / "none" / "proxyd.yaml", tmp_path)


def test_the_command_line_reaches_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.environ", {"OPENAI_API_KEY": "s3cret", "HOME": str(tmp_path)})
    assert main(["init", "-o", str(tmp_path / "x.yaml")]) == 0
    assert "service openai: api.openai.com" in capsys.readouterr().out
