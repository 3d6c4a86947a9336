import json
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from proxyd.cli.main import build_parser, main


@pytest.mark.parametrize(
    "words",
    [
        ["--admin", "/a.sock", "status"],
        ["status", "--admin", "/a.sock"],
        ["--admin", "/b.sock", "status", "--admin", "/a.sock"],
        ["ca", "export", "--admin", "/a.sock"],
        ["ca", "--admin", "/a.sock", "export"],
        ["--admin", "/a.sock", "ca", "export"],
        ["ctl", "methods", "[]", "--admin", "/a.sock"],
        ["exec", "--admin", "/a.sock", "--", "x", "--admin", "/c.sock"],
        ["run", "--admin=/a.sock"],
    ],
)
def test_the_admin_socket_may_stand_before_and_after_the_words(words):
    assert build_parser().parse_args(words).admin == "/a.sock"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["exec", "--", "curl", "-c", "x"], ["curl", "-c", "x"]),
        (["exec", "curl", "--json", "x"], ["curl", "--json", "x"]),
        (["exec", "-c", "f", "--", "sh", "--", "-x"], ["sh", "--", "-x"]),
        (["exec", "--", "--odd"], ["--odd"]),
    ],
)
def test_the_command_of_exec_is_left_as_it_is(words, command, monkeypatch):
    seen = []
    monkeypatch.setattr("proxyd.cli.execute.execute", lambda given, **_: seen.append(given) or 0)
    assert main(words) == 0
    assert seen == [command]


def test_run_takes_its_folders(monkeypatch):
    seen = []
    monkeypatch.setattr("proxyd.cli.run.run", lambda *given: seen.append(given) or 0)
    assert main(["run", "-c", "f.yaml", "--state-dir", "s", "--runtime-dir", "r"]) == 0
    assert seen == [(Path("f.yaml"), Path("s"), Path("r"), "")]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["status", "surplus"],
        ["status", "--js"],
        ["ctl"],
        ["ca"],
        ["run", "--state-dir"],
        ["run", "x"],
    ],
)
def test_a_wrong_command_line_is_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "words", [["exec"], ["exec", "--"], ["exec", "-c", "f", "--admin", "/a", "--", "x"], ["ctl", "m", "{"]]
)
def test_a_command_line_that_makes_no_sense_is_2(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("proxyd: ")


def test_version_prints_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("proxyd 0.")


@pytest.mark.parametrize("command", ["status", "services", "pools", "config", "reload", "stop", "env"])
def test_nobody_there_is_3(command, capsys, tmp_path):
    assert main([command]) == 3
    assert f"no daemon answers on {tmp_path}/run/admin.sock" in capsys.readouterr().err


def test_the_environment_names_the_socket_and_the_command_line_wins(daemon, monkeypatch, tmp_path, capsys):
    daemon.answers["status"] = {"version": "1"}
    monkeypatch.setenv("PROXYD_ADMIN", str(daemon.path))
    assert main(["status"]) == 0
    assert main(["status", "--admin", str(tmp_path / "absent.sock")]) == 3


def test_tables_escape_and_json_is_one_document(daemon, capsys):
    daemon.answers["pools"] = [{"host": "a\x1b[2Jb", "idle": 1}]
    assert main(["pools", "--admin", str(daemon.path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["HOST       IDLE", "a\\x1b[2Jb     1"]
    assert main(["pools", "--json", "--admin", str(daemon.path)]) == 0
    assert json.loads(capsys.readouterr().out) == daemon.answers["pools"]


def test_an_empty_list_is_said_in_words_and_in_json(daemon, capsys):
    daemon.answers["services"] = []
    assert main(["services", "--admin", str(daemon.path)]) == 0
    assert capsys.readouterr().out == "no services are configured\n"
    assert main(["--admin", str(daemon.path), "services", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_a_refused_reload_prints_each_problem_and_is_1(daemon, capsys):
    problems = ["f.yaml:3:1: unknown key", "f.yaml:9:2: \x1b[31mred"]
    daemon.answers["reload"] = {"ok": False, "version": 4, "problems": problems}
    assert main(["reload", "--admin", str(daemon.path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "f.yaml:3:1: unknown key", "f.yaml:9:2: \\x1b[31mred", "refused: version 4 stays in use",
    ]  # fmt: skip
    assert main(["reload", "--json", "--admin", str(daemon.path)]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == problems


def test_an_accepted_reload_is_0(daemon, capsys):
    daemon.answers["reload"] = {"ok": True, "version": 5, "problems": []}
    assert main(["reload", "--admin", str(daemon.path)]) == 0
    assert capsys.readouterr().out == "reloaded: version 5 is in use\n"


@pytest.mark.parametrize(
    ("words", "params"),
    [([], []), (["[1, 2]"], [1, 2]), (['{"a": 1}'], [{"a": 1}]), (['"x"'], ["x"]), (["null"], [None])],
)
def test_ctl_sends_json_and_prints_json(daemon, capsys, words, params):
    daemon.answers["anything"] = {"a": [None]}
    assert main(["ctl", "anything", *words, "--admin", str(daemon.path)]) == 0
    assert daemon.calls == [("anything", params)]
    assert json.loads(capsys.readouterr().out) == {"a": [None]}


def test_ctl_prints_the_daemon_s_error_and_is_1(daemon, capsys):
    daemon.answers["statsu"] = Exception({"code": "unknown_method", "message": "no method", "nearest": "status"})
    assert main(["ctl", "statsu", "--admin", str(daemon.path)]) == 1
    assert capsys.readouterr().err == "proxyd: statsu: no method; did you mean status?\n"


def test_stop_says_what_happens(daemon, capsys):
    daemon.answers["stop"] = True
    assert main(["stop", "--admin", str(daemon.path)]) == 0
    assert capsys.readouterr().out == "stopping: connections are drained\n"


def test_env_prints_lines_for_a_shell(daemon, tmp_path, capsys):
    (tmp_path / "bundle.pem").write_text("")
    answer = {"proxy": "http://127.0.0.1:1", "ca_bundle": str(tmp_path / "bundle.pem"), "secret_variables": ["TOKEN"]}
    daemon.answers["environment"] = answer
    pytest.importorskip("trustme")
    import trustme

    (tmp_path / "bundle.pem").write_bytes(trustme.CA().cert_pem.bytes())
    assert main(["env", "--admin", str(daemon.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "unset SSL_CERT_DIR"
    assert "export https_proxy='http://127.0.0.1:1'" in lines
    assert "export TOKEN='proxyd-placeholder'" in lines
    assert main(["env", "--json", "--admin", str(daemon.path)]) == 0
    assert json.loads(capsys.readouterr().out)["NODE_USE_ENV_PROXY"] == "1"


def test_check_of_a_good_file_is_one_line(tmp_path, capsys):
    file = tmp_path / "proxyd.yaml"
    file.write_text("listeners:\n  - {name: apps, mode: forward, address: 127.0.0.1:3128}\n")
    assert main(["check", "-c", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: OK (1 listener, 0 services, 0 secrets, 1 worker)\n"
    assert main(["check"]) == 0


def test_check_of_a_bad_file_prints_every_problem_and_is_2(tmp_path, capsys):
    file = tmp_path / "proxyd.yaml"
    file.write_text("listners: []\nworkers: many\n")
    assert main(["check", "-c", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{file}:1:1: listners: unknown key" in captured.err
    assert f"{file}:2:10: workers: " in captured.err
    assert captured.err.endswith("mistakes; nothing was changed\n")
    assert main(["check", "--json", "-c", str(file)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert {key: document["problems"][0][key] for key in ("line", "column")} == {"line": 1, "column": 1}


def test_check_of_an_absent_file_is_2(tmp_path, capsys):
    assert main(["check", "-c", str(tmp_path / "absent.yaml")]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_the_status_path_imports_nothing_heavy():
    source = (
        "import sys\nfrom proxyd.cli.main import main\nmain(['status'])\n"
        "print([name for name in ('trio', 'pydantic', 'httpx', 'asyncio', 'OpenSSL', 'cryptography', 'yaml', 'ssl', "
        "'subprocess', 'proxyd.core', 'proxyd.config') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


EXCHANGE = {
    "time": "2030-01-31T12:00:00.250Z", "id": "a-1", "caller": "127.0.0.1:4000", "uid": None, "method": "GET",
    "scheme": "http", "authority": "a.example:80", "path": "/\x1b[2J", "service": None, "status": 200, "flags": "",
    "total_ms": 1.0, "response_bytes": 1,
}  # fmt: skip


def test_exchanges_passes_filters_on_and_escapes(daemon, capsys):
    daemon.answers["exchanges"] = [EXCHANGE]
    words = ["exchanges", "--admin", str(daemon.path), "--status", "4xx", "--errors", "--limit", "7"]
    assert main(words) == 0
    assert daemon.calls == [("exchanges", [{"status": "4xx", "errors": True, "limit": 7}])]
    assert "http://a.example:80/\\x1b[2J" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [EXCHANGE]


def test_tail_prints_lines_until_the_daemon_ends(daemon, capsys):
    daemon.answers["subscribe"] = {"subscription": 1}
    told = [[2, "exchange", [1, {**EXCHANGE, "id": name}]] for name in ("a-1", "a-2")]
    told += [[2, "notice", [1, {}]], [2, "dropped", [1, 9]], [1, 99, None, []]]
    daemon.answers["exchanges"] = b"".join(map(msgpack.packb, [[1, 2, None, [EXCHANGE]], *told]))
    assert main(["tail", "--json", "--service", "-", "--admin", str(daemon.path)]) == 3
    out, err = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["a-1", "a-2"]
    assert err.startswith("proxyd: 9 were dropped")
    assert daemon.calls[0] == ("subscribe", [{"service": "-", "kinds": ["exchange"]}])
    assert main(["tail", "--admin", str(daemon.path)]) == 3
    assert capsys.readouterr().out.splitlines()[0].endswith("GET http://a.example:80/\\x1b[2J - 1ms 127.0.0.1:4000")


def test_tail_goes_on_where_nothing_is_kept(daemon, capsys):
    daemon.answers["subscribe"] = {"subscription": 1}
    refused = [1, 2, {"code": "not_kept", "message": "telemetry.recent is 0"}, None]
    told = [[2, "exchange", [1, EXCHANGE]], [1, 99, None, []]]
    daemon.answers["exchanges"] = b"".join(map(msgpack.packb, [refused, *told]))
    assert main(["tail", "--json", "--admin", str(daemon.path)]) == 3
    assert json.loads(capsys.readouterr().out) == EXCHANGE


def test_json_is_printable_ascii(daemon, capsys):
    daemon.answers["pools"] = [{"host": "\x7f\x1b\u202e\x9b"}]
    assert main(["pools", "--json", "--admin", str(daemon.path)]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert all(line.isprintable() for line in out.splitlines())
    assert json.loads(out) == daemon.answers["pools"]


def test_drain_and_log_level_say_what_became(daemon, capsys):
    daemon.answers["drain"] = {"ok": True, "exit": False, "seconds": 90}
    daemon.answers["log_level"] = {"level": "debug"}
    assert main(["drain", "--admin", str(daemon.path)]) == 0
    assert "what runs has 1m 30s; 'proxyd reload' accepts again" in capsys.readouterr().out
    daemon.answers["drain"]["exit"] = True
    assert main(["drain", "--exit", "--seconds", "90", "--json", "--admin", str(daemon.path)]) == 0
    assert json.loads(capsys.readouterr().out) == daemon.answers["drain"]
    assert main(["log-level", "debug", "--admin", str(daemon.path)]) == 0
    assert capsys.readouterr().out == "debug\n"
    assert daemon.calls == [
        ("drain", [{"exit": False}]), ("drain", [{"exit": True, "seconds": 90.0}]), ("log_level", ["debug"]),
    ]  # fmt: skip


def test_a_service_is_shown_with_its_latest_errors_escaped(daemon, capsys):
    daemon.answers["service"] = {"name": "tickets", "latest_errors": [EXCHANGE]}
    assert main(["service", "tickets", "--admin", str(daemon.path)]) == 0
    out = capsys.readouterr().out
    assert "latest errors:" in out
    assert "http://a.example:80/\\x1b[2J" in out
    assert daemon.calls == [("service", ["tickets"])]


def test_a_reader_that_leaves_early_is_no_traceback(daemon):
    daemon.answers["pools"] = [{"host": f"h{n}"} for n in range(20_000)]
    command = f"{sys.executable} -m proxyd.cli.main pools --admin {daemon.path} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("HOST\n", "")


def test_config_is_json_for_everyone(daemon, capsys):
    daemon.answers["config"] = {"services": [{"name": "tickets", "auth": {"scheme": "bearer"}}]}
    assert main(["config", "--admin", str(daemon.path)]) == 0
    assert json.loads(capsys.readouterr().out) == daemon.answers["config"]
