import pytest

from proxyd.cli.commands import fault
from proxyd.cli.main import main


@pytest.fixture
def calls(monkeypatch):
    made = []

    def call(arguments, method, *params):
        made.append((method, *params))
        return {"fault_add": {"id": "f1"}, "fault_list": [], "fault_clear": {"cleared": ["f1"]}}[method]

    monkeypatch.setattr(fault, "call", call)
    return made


def test_add_reads_units_and_prints_the_id(calls, capsys):
    words = "--service api --method GET --method HEAD --path /v2 --uid 7 --share 10% --delay 300ms --for 5m"
    assert main(["fault", "add", *words.split()]) == 0
    assert capsys.readouterr().out == "f1\n"
    assert calls == [
        (
            "fault_add",
            {
                "service": "api", "method": ["GET", "HEAD"], "path": ["/v2"], "uid": 7, "at": "client", "share": 0.1,
                "seconds": 300.0, "delay": 0.3,
            },
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--rate-limit"], {"rate_limit": ""}),
        (["--rate-limit", "github"], {"rate_limit": "github"}),
        (["--reset", "--at", "upstream"], {"reset": True, "at": "upstream"}),
        (["--expired"], {"expired": True}),
        (["--truncate", "100"], {"truncate": 100}),
        (["--slow", "2KiB"], {"slow": 2048}),
        (["--status", "503"], {"status": 503}),
    ],
)
def test_add_says_what_happens(calls, words, given):
    assert main(["fault", "add", "--service", "api", *words]) == 0
    expected = {"service": "api", "at": "client", "share": 1.0, "seconds": 600.0} | given
    assert calls == [("fault_add", expected)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--delay", "3"], "write 3s"),
        (["--reset", "--share", "0%"], "percentage such as 10%"),
        (["--reset", "--share", "10"], "percentage such as 10%"),
        (["--reset", "--for", "soon"], "--for: not a duration"),
        (["--slow", "2kb"], "--slow: an unknown unit of size"),
    ],
)
def test_add_refuses_what_it_cannot_read(calls, capsys, words, said):
    assert main(["fault", "add", "--service", "api", *words]) == 2
    assert said in capsys.readouterr().err
    assert not calls


def test_list_leaves_out_conditions_that_no_fault_has(monkeypatch, capsys):
    row = {
        "id": "f1", "kind": "reset", "what": "connection reset", "service": "api", "methods": ["GET"], "paths": [],
        "uids": [], "users": [], "cidrs": [], "at": "client", "share": 0.1, "seed": 1, "hits": 3, "left_seconds": 59.4,
    }  # fmt: skip
    monkeypatch.setattr(fault, "call", lambda *_: [row])
    assert main(["fault", "list"]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "SERVICE", "WHAT", "METHODS", "AT", "SHARE", "HITS", "LEFT"]
    assert line.split() == ["f1", "api", "connection", "reset", "GET", "client", "10%", "3", "59s"]


def test_list_and_clear(calls, capsys):
    assert main(["fault", "list"]) == 0
    assert main(["fault", "clear", "f1"]) == 0
    assert main(["fault", "clear"]) == 0
    assert calls == [("fault_list",), ("fault_clear", ["f1"]), ("fault_clear",)]
    assert capsys.readouterr().out == "no faults are injected\nf1\nf1\n"
