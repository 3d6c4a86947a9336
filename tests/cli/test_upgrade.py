"""``proxyd upgrade`` as a person meets it."""

import json

import pytest

from proxyd.cli.main import main


def test_a_success_says_what_serves_and_is_0(daemon, capsys):
    daemon.answers["upgrade"] = {"ok": True, "generation": 3, "drain_seconds": 3600.0}
    assert main(["upgrade", "--admin", str(daemon.path)]) == 0
    assert daemon.calls == [("upgrade", [60.0, None])]
    said = capsys.readouterr().out
    assert said.startswith("upgraded: generation 3 serves; what the former one carries may go on for 1h")


def test_a_failure_says_why_and_is_1(daemon, capsys):
    daemon.answers["upgrade"] = {"ok": False, "generation": 2, "problem": "f.yaml:1:1: a mistake\nf.yaml:2:1: \x1b[2J"}
    assert main(["upgrade", "--timeout", "5", "--drain", "10", "--admin", str(daemon.path)]) == 1
    assert daemon.calls == [("upgrade", [5.0, 10.0])]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "proxyd: upgrade: f.yaml:1:1: a mistake",
        "proxyd: upgrade: f.yaml:2:1: \\x1b[2J",
        "nothing was changed: generation 2 goes on",
    ]


def test_json_is_one_document(daemon, capsys):
    daemon.answers["upgrade"] = {"ok": False, "generation": 2, "problem": "no"}
    assert main(["upgrade", "--json", "--admin", str(daemon.path)]) == 1
    assert json.loads(capsys.readouterr().out) == daemon.answers["upgrade"]


@pytest.mark.parametrize(
    "words", [["--timeout", "soon"], ["--timeout", "-1"], ["--timeout", "601"], ["--drain", "nan"]]
)
def test_a_time_that_is_none_is_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["upgrade", *words])
    assert "expected seconds from 0 to" in capsys.readouterr().err
