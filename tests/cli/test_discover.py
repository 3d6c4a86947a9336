import json

from proxyd.cli.discover import discover

SEEN = {"requests": 3, "tunnels": 0, "first_seen": "x", "last_seen": "2026-11-25T10:00:00Z", "own_credentials": []}


def seen(host, **changes):
    return {**SEEN, "host": host, **changes}


def test_a_person_gets_lines_for_the_configuration(capsys):
    hosts = [
        seen("api.github.com", own_credentials=["authorization: Bearer"]),
        seen("x.example", requests=0, tunnels=1),
    ]
    assert discover(hosts, as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "# Known to the catalogue and not configured. Add what you want, store the secrets (proxyd secret",
        "# set NAME), and run proxyd check.",
        "services:",
        "  # GitHub: api.github.com; 3 requests, clients send their own credential (authorization: Bearer), last at "
        "2026-11-25T10:00:00Z",
        "  #   token: Personal access token: https://github.com/settings/tokens",
        "  github:",
        "    secret: github/token",
        "# Not known to the catalogue:",
        "#   x.example: 1 tunnel, last at 2026-11-25T10:00:00Z",
    ]


def test_programs_get_one_list_in_which_unknown_hosts_have_no_service(capsys):
    discover([seen("api.github.com"), seen("uploads.github.com", requests=2), seen("x.example")], as_json=True)
    github, other = json.loads(capsys.readouterr().out)
    assert (github["service"], github["hosts"], github["requests"]) == (
        "github",
        ["api.github.com", "uploads.github.com"],
        5,
    )
    assert github["configuration"] == "  github:\n    secret: github/token\n"
    assert (other["service"], other["hosts"], other["configuration"]) == (None, ["x.example"], "")


def test_a_host_is_printed_harmlessly(capsys):
    discover([seen("x\x1b[2J.example")], as_json=False)
    assert "\x1b" not in capsys.readouterr().out


def test_nothing_is_said(capsys):
    discover([], as_json=False)
    assert capsys.readouterr().out == "# No host was asked for that is no service.\n"
