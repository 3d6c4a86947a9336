import socket

import pytest

import proxyd
from proxyd.cli import rpc
from proxyd.cli.doctor import daemon
from proxyd.cli.doctor.daemon import Daemon, ask, check, configuration, ports, same_uid, versions
from proxyd.cli.doctor.findings import Verdict
from proxyd.config.load import load_text

STATUS = {"version": proxyd.__version__, "state": "ready", "pid": 1, "problems": []}
TEXT = """
listeners: [{name: apps, mode: forward, address: "127.0.0.1:%d"}]
admin: {http: "127.0.0.1:%d"}
"""


def running(status=STATUS, proxy="http://127.0.0.1:1", uid=0):
    return Daemon(status, {"proxy": proxy}, "PEM", uid)


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """A socket on which a daemon answers with what the test says."""
    admin = tmp_path / "admin.sock"
    admin.touch()
    given = {"status": STATUS, "environment": {"proxy": "http://127.0.0.1:1"}, "ca": {"pem": "PEM"}}
    monkeypatch.setattr(rpc, "call", lambda _path, method, **_: given[method])
    return admin, given


def test_a_daemon_that_answers_is_well(answers):
    admin, _ = answers
    found, finding = ask(admin, False)
    assert found is not None
    assert (found.proxy, found.pid) == ("http://127.0.0.1:1", 1)
    assert finding.verdict is Verdict.OK


@pytest.mark.parametrize("change", [{"version": "0.0.1"}, {"state": "draining"}])
def test_another_version_and_another_state_are_warnings(answers, change):
    admin, given = answers
    given["status"] = STATUS | change
    assert ask(admin, False)[1].verdict is Verdict.WARN


def test_no_daemon_is_a_warning_unless_somebody_named_it(tmp_path):
    assert ask(tmp_path / "none.sock", False)[1].verdict is Verdict.WARN
    found, finding = ask(tmp_path / "none.sock", True)
    assert found is None
    assert finding.verdict is Verdict.FAIL


def test_the_same_user_is_a_convenience_and_another_one_a_boundary():
    assert same_uid(1000, 1000).verdict is Verdict.WARN
    assert "boundary" in same_uid(1000, 1000).todo
    assert same_uid(990, 1000).verdict is Verdict.OK


def test_the_daemons_problems_are_told_up_to_a_number():
    problems = [f"secret s{number} is missing" for number in range(8)]
    found = check(running(STATUS | {"problems": problems}))
    assert [each.what for each in found if each.check == "problem"] == [*problems[:5], "3 more"]


def test_a_daemon_without_an_open_listener_is_a_warning():
    assert "no forward listener" in check(running(proxy=None))[-1].what


def test_every_mistake_of_a_configuration_fails_and_the_command_for_all_is_named(tmp_path):
    file = tmp_path / "proxyd.yaml"
    file.write_text("listeners: []\nwrokers: 1\n")
    settings, found = configuration(file, tmp_path, tmp_path)
    assert settings is None
    assert {each.verdict for each in found} == {Verdict.FAIL}
    assert f"proxyd check -c {file}" in found[-1].todo


def test_an_open_file_of_a_secret_is_a_warning(tmp_path):
    token = tmp_path / "token"
    token.touch()
    token.chmod(0o644)
    file = tmp_path / "proxyd.yaml"
    file.write_text(TEXT % (1, 2) + "secrets: {t: {file: token}}\n")
    settings, found = configuration(file, tmp_path, tmp_path)
    assert settings is not None
    assert [each.verdict for each in found] == [Verdict.OK, Verdict.WARN]
    assert "chmod 600" in found[1].what


def test_taken_ports_fail_and_free_ones_say_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_text(TEXT % (taken.getsockname()[1], 0), "t", tmp_path, tmp_path, tmp_path)
        (found,) = ports(settings)
    assert found.verdict is Verdict.FAIL
    assert "apps" in found.what
    assert ports(settings) == []


def test_versions_are_named():
    assert proxyd.__version__ in versions().what
    assert daemon.SHOWN < 10
