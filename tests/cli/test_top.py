import os
import pty
import select
import signal
import subprocess
import sys
import termios

import pytest

from proxyd.cli import top as module
from proxyd.cli.main import main
from proxyd.cli.top import Sample, screen

STATUS = {
    "version": "0.1.0", "state": "ready", "uptime_seconds": 61, "config": "p.yaml",
    "totals": {"requests": 100, "errors": 1, "tunnels": 0, "active": 3},
    "workers": [{"index": 0, "pid": 7, "cpu_seconds": 1.0, "connections": 3, "rss_bytes": 1024}],
    "problems": [],
}  # fmt: skip
SERVICES = [{"name": "idle", "requests": 0, "errors": 0}, {"name": "tickets", "requests": 90, "errors": 0}]


def later(**changes):
    status = {**STATUS, "totals": {**STATUS["totals"], "requests": 140, "errors": 2}, **changes}
    status["workers"] = [{**STATUS["workers"][0], "cpu_seconds": 2.0}]
    return Sample(12.0, status, [SERVICES[0], {"name": "tickets", "requests": 130, "errors": 1}])


def test_a_screen_shows_rates_between_two_samples():
    assert screen(Sample(10.0, STATUS, SERVICES), later()) == [
        "proxyd 0.1.0  ready  up 1m 1s  p.yaml",
        "20.0 requests/s  0.5 errors/s  3 connections  140 requests  2 errors  0 tunnels",
        "",
        "SERVICE  REQUESTS/S  ERRORS/S  REQUESTS  ERRORS",
        "tickets          20       0.5       130       1",
        "idle              0         0         0       0",
        "",
        "WORKER  PID  CPU %  CONNECTIONS      RSS",
        "     0    7     50            3  1.0 KiB",
    ]


def test_counters_that_began_again_and_workers_that_are_new_make_no_odd_rates():
    restarted = Sample(12.0, {**STATUS, "totals": {"requests": 4}, "workers": [{**STATUS["workers"][0], "pid": 8}]}, [])
    lines = screen(Sample(10.0, STATUS, SERVICES), restarted)
    assert lines[1].startswith("2.0 requests/s  0.0 errors/s")
    assert lines[3] == "no services are configured"
    assert lines[-1].split()[:3] == ["0", "8", "0"]


def test_problems_stand_below_and_are_escaped():
    lines = screen(Sample(10.0, STATUS, SERVICES), later(problems=["a\x1b[2Jb"], config="\x1b[31m"))
    assert lines[-2:] == ["problems:", "  a\\x1b[2Jb"]
    assert all(line.isprintable() for line in lines)


def test_where_standard_output_is_no_terminal_one_screen_is_printed(daemon, capsys, monkeypatch):
    monkeypatch.setattr(module, "ONCE_SECONDS", 0.01)
    daemon.answers.update(status=STATUS, services=SERVICES)
    assert main(["top", "--admin", str(daemon.path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("proxyd 0.1.0  ready")
    assert "\x1b" not in out


@pytest.mark.parametrize("words", [["--interval", "0"], ["--interval", "x"], ["--interval", "nan"]])
def test_an_interval_has_bounds(words, capsys):
    with pytest.raises(SystemExit):
        main(["top", *words])
    assert "expected 0.2 to 3600 seconds" in capsys.readouterr().err


@pytest.mark.parametrize("stop", ["q", "SIGINT"])
def test_on_a_terminal_it_refreshes_until_it_is_told_to_stop_and_gives_the_terminal_back(daemon, stop):
    daemon.answers.update(status={**STATUS, "config": "\x1b]0;x\x07"}, services=SERVICES)
    terminal, theirs = pty.openpty()
    before = termios.tcgetattr(terminal)
    command = [sys.executable, "-m", "proxyd.cli.main", "top", "--interval", "0.2", "--admin", str(daemon.path)]
    variables = {**os.environ, "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, env=variables, start_new_session=True) as process:
        try:
            shown = until(terminal, b"WORKER", times=3)
            if stop == "q":
                os.write(terminal, b"q")
            else:
                process.send_signal(signal.SIGINT)
            shown += until(terminal, b"\x1b[?1049l")
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert shown.startswith(b"\x1b[?1049h\x1b[?25l")
    assert b"\\x1b]0;x\\x07" in shown
    assert termios.tcgetattr(terminal) == before
    os.close(terminal)
    os.close(theirs)


def until(terminal, wanted, times=1):
    """Read until ``wanted`` has come so often."""
    data = b""
    while data.count(wanted) < times:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, data
        data += os.read(terminal, 65536)
    return data
