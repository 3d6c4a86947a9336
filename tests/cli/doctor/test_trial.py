import os
import sys

import pytest

from proxyd.cli.doctor.findings import Verdict
from proxyd.cli.doctor.runtimes import FAMILIES, URL, Probe, find
from proxyd.cli.doctor.trial import Outcome, Result, _outcome, run

EXCHANGE = {"kind": "http", "status": 200, "credential": "doctor", "detail": None}
HANDSHAKE = {"kind": "tunnel", "status": 400, "credential": None, "detail": "unknown ca"}


@pytest.mark.parametrize(
    ("entries", "outcome"),
    [
        ([], Outcome.BYPASSED),
        ([EXCHANGE], Outcome.WORKS),
        ([EXCHANGE | {"status": 403, "credential": None}], Outcome.FAILED),
        ([EXCHANGE | {"credential": None}], Outcome.FAILED),
        ([HANDSHAKE], Outcome.UNTRUSTED),
        ([HANDSHAKE, EXCHANGE], Outcome.WORKS),
        ([HANDSHAKE, EXCHANGE | {"status": 502, "credential": None}], Outcome.FAILED),
    ],
)
def test_what_the_daemon_saw_is_the_outcome(entries, outcome):
    assert _outcome(entries, Outcome.BYPASSED) is outcome


@pytest.mark.parametrize(
    ("outcome", "proxy", "trusted"),
    [
        (Outcome.WORKS, "used", True),
        (Outcome.UNTRUSTED, "used", False),
        (Outcome.BYPASSED, "bypassed", None),
        (Outcome.FAILED, "used", True),
        (Outcome.SILENT, None, None),
        (Outcome.SLOW, None, None),
        (Outcome.UNTRIED, None, None),
    ],
)
def test_an_outcome_says_whether_the_proxy_was_used_and_the_ca_trusted(outcome, proxy, trusted):
    assert (outcome.proxy, outcome.is_trusted) == (proxy, trusted)


@pytest.mark.parametrize("outcome", Outcome)
def test_whatever_does_not_work_says_what_to_do(outcome):
    result = Result(Probe("x", "x", ("x",), alone="alone", broken="broken"), helped=outcome, alone=None)
    assert bool(result.todo) is (outcome is not Outcome.WORKS)
    assert (result.verdict is Verdict.OK) is (outcome is Outcome.WORKS)


def test_what_works_under_exec_alone_says_what_is_missing_without_it():
    result = Result(Probe("x", "x", ("x",), alone="set THIS"), helped=Outcome.WORKS, alone=Outcome.UNTRUSTED)
    assert result.verdict is Verdict.OK
    assert result.todo == "without proxyd exec: set THIS"


def python(name, code, *words):
    return Probe("python", name, (sys.executable, "-c", code, *words), version="3")


GET = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=20).read()"


@pytest.mark.e2e
def test_real_programs_are_told_apart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t")
    probes = [
        python("asks", GET, URL),
        python("passes-by", "raise OSError('getaddrinfo failed')"),
        python("crashes", "import sys; sys.exit(7)"),
        Probe("x", "missing", ("/nonexistent/program",)),
    ]
    variables = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    results = run(probes, folder / "state", {**variables, "HOME": str(folder), "TMPDIR": str(folder)}, alone=True)
    assert [result.helped for result in results] == [
        Outcome.WORKS,
        Outcome.BYPASSED,
        Outcome.SILENT,
        Outcome.SILENT,
    ]
    assert results[0].alone is Outcome.UNTRUSTED
    assert results[2].details == ["it ended with 7"]


def test_nothing_is_started_for_nothing(tmp_path):
    assert run([], tmp_path / "state", {}, alone=True) == []
    assert list(tmp_path.iterdir()) == []


def test_every_family_is_found_or_missing():
    probes, missing = find(FAMILIES)
    assert {probe.family for probe in probes} | set(missing) == set(FAMILIES)
    names = [probe.name for probe in probes]
    assert len(set(names)) == len(names)
    for probe in probes:
        assert any(URL in word for word in (*probe.command, *probe.variables.values())), probe.name
        assert probe.alone
        assert probe.broken
