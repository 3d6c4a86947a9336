import json
from pathlib import Path

import pytest

from proxyd.cli.doctor import command
from proxyd.cli.doctor.command import Words, doctor
from proxyd.cli.doctor.findings import Finding, Verdict, worst
from proxyd.cli.doctor.runtimes import Probe
from proxyd.cli.doctor.trial import Outcome, Result
from proxyd.cli.exits import CommandError
from proxyd.cli.main import main

GOOD = Result(Probe("curl", "curl", ("curl",), alone="set THIS"), "8.0", Outcome.WORKS, Outcome.UNTRUSTED)
BAD = Result(Probe("node", "node-fetch", ("node",), broken="use THAT"), "18", Outcome.BYPASSED, Outcome.BYPASSED)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run doctor with given results in an empty place; return its exit code and output."""

    def function(*results, **changes):
        monkeypatch.setattr(command, "find", lambda families: ([result.probe for result in results], ["deno"]))
        monkeypatch.setattr(command, "run", lambda *_, **__: list(results))
        words = {"config": None, "admin": tmp_path / "a.sock", "explicit": False, "state": tmp_path / "s",
                 "runtime": tmp_path / "r", "only": "", "as_json": False} | changes  # fmt: skip
        return doctor(Words(**words)), capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    return function


def test_a_runtime_that_works_is_0_and_the_rest_is_told(run):
    code, output = run(GOOD)
    assert code == 0
    assert "curl" in output
    assert "not installed: deno" in output
    assert "Programs started without proxyd exec:\n  curl: set THIS" in output


def test_a_runtime_that_does_not_is_1_and_says_what_to_do(run):
    code, output = run(GOOD, BAD)
    assert code == 1
    assert "fail  node-fetch  18       the proxy is bypassed" in output
    assert "To do:\n  node-fetch: use THAT" in output


def test_json_holds_everything(run):
    code, output = run(GOOD, BAD, as_json=True)
    document = json.loads(output)
    assert code == 1
    assert document["verdict"] == "fail"
    assert [entry["runtime"] for entry in document["runtimes"]] == ["curl", "node-fetch"]
    assert document["runtimes"][0]["exec"] == {"outcome": "works", "proxy": "used", "ca_trusted": True}
    assert {entry["check"] for entry in document["checks"]} >= {"versions", "daemon", "clock", "memory", "state folder"}


def test_one_runtime_is_tested_without_the_checks(run):
    code, output = run(GOOD, only="curl", as_json=True)
    assert [entry["check"] for entry in json.loads(output)["checks"]] == ["curl"], "the fixture says one is missing"
    assert code == 1


def test_the_configuration_here_is_checked(run, tmp_path):
    (tmp_path / "proxyd.yaml").write_text("wrokers: 1\n")
    code, output = run(GOOD)
    assert code == 1
    assert "proxyd.yaml:1:1: wrokers" in output


def test_a_state_folder_that_cannot_be_used_is_a_warning_and_the_trial_has_its_own(run, monkeypatch, capsys):
    def refuse(_probes, state, *_, **options):
        if state is not None:
            raise CommandError("belongs to uid 990")
        return [] if options["alone"] else [GOOD]

    run(GOOD)
    monkeypatch.setattr(command, "run", refuse)
    monkeypatch.setattr(command, "find", lambda _: ([GOOD.probe], []))
    words = Words(None, Path("a"), False, Path("s"), Path("r"), "curl", True)
    assert doctor(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert "belongs to uid 990" in document["checks"][0]["what"]
    assert document["runtimes"][0]["runtime"] == "curl"


def test_a_trial_that_cannot_be_made_is_a_failure_and_no_traceback(run, monkeypatch, capsys):
    def refuse(*_, **__):
        raise CommandError("ended before it was ready")

    run(GOOD)
    monkeypatch.setattr(command, "run", refuse)
    assert doctor(Words(None, Path("a"), False, Path("s"), Path("r"), "curl", False)) == 1
    assert "no runtime was tried" in capsys.readouterr().out


def test_an_unknown_runtime_is_a_wrong_command_line(capsys):
    assert main(["doctor", "--runtime", "cobol"]) == 2
    assert "known: curl" in capsys.readouterr().err


def test_the_worst_verdict_counts():
    assert worst([]) is Verdict.OK
    assert worst([Verdict.OK, Verdict.FAIL, Verdict.WARN]) is Verdict.FAIL
    assert Finding("a", Verdict.WARN, "b", "c").plain() == {"check": "a", "verdict": "warn", "what": "b", "todo": "c"}
