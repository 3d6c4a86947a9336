import base64
import io
import json
import os
import stat
import sys

import pytest

from proxyd.cli import secret as module
from proxyd.cli.exits import CommandError
from proxyd.cli.main import main
from proxyd.cli.secret import duration

pytestmark = pytest.mark.usefixtures("quick_scrypt")

VALUE = "s3cret-value"
DONE = {"ok": True, "name": "a", "version": 3, "workers": 2, "used_by": ["tickets"], "problems": []}


@pytest.fixture(autouse=True)
def no_hardening(monkeypatch):
    """The process under test here is pytest's own."""
    monkeypatch.setattr(module, "harden", lambda: None)


@pytest.fixture
def proxyd(monkeypatch, capsys):
    """Runs a command with bytes on its standard input; returns (exit code, standard output, standard error)."""

    def run(*words, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(list(words))
        said = capsys.readouterr()
        assert VALUE not in said.out + said.err
        return code, said.out, said.err

    return run


# --- without a daemon -------------------------------------------------------------------------------


def test_value_is_taken_from_standard_input_and_never_shown(proxyd, tmp_path):
    assert proxyd("secret", "set", "a", stdin=f"{VALUE}\n".encode()) == (0, "stored: a, version 1\n", "")
    assert proxyd("secret", "set", "a", "--json", stdin=VALUE.encode())[0] == 0
    code, out, _ = proxyd("secret", "list")
    assert (code, out.split("\n")[0].split()) == (0, ["NAME", "VERSION", "VERSIONS", "AGE", "LAST", "USED"])
    assert out.split("\n")[1].split()[:3] == ["a", "2", "1"]
    assert not any(VALUE.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_list_is_an_array_in_json_also_when_it_is_empty(proxyd):
    assert proxyd("secret", "list", "--json") == (0, "[]\n", "")
    assert proxyd("secret", "list")[1] == "the vault holds no secrets\n"
    proxyd("secret", "set", "a", stdin=b"one")
    proxyd("secret", "rotate", "a", "--overlap", "2h", stdin=b"two")
    (row,) = json.loads(proxyd("secret", "list", "--json")[1])
    assert (row["name"], row["version"], row["last_used"]) == ("a", 2, None)
    assert [(each["version"], each["state"]) for each in row["versions"]] == [(2, "current"), (1, "overlap")]
    assert 0 <= row["age_seconds"] < 60


def test_rotate_tells_how_long_the_former_value_counts(proxyd):
    proxyd("secret", "set", "a", stdin=b"one")
    assert proxyd("secret", "rotate", "a", stdin=b"two")[1] == "rotated: a, version 2; the former one counts for 1d\n"
    assert proxyd("secret", "rotate", "a", "--overlap", "90s", stdin=b"x")[1].endswith("counts for 1m 30s\n")


def test_refusals_have_words_and_exit_codes(proxyd):
    for words, code, said in (
        (("secret", "rm", "a"), 1, "the vault holds no secret a"),
        (("secret", "rotate", "a"), 1, "is empty"),
        (("secret", "set", "@ca-root"), 1, "not the name of a secret"),
        (("secret", "rotate", "a", "--overlap", "soon"), 2, "not a duration"),
        (("secret", "restore", "nowhere"), 1, "there is no such file"),
    ):
        ended, _, err = proxyd(*words)
        assert (ended, said in err) == (code, True), err


def test_a_typed_value_is_not_echoed(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    asked = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or VALUE)
    assert module.read_value("Value of a: ") == VALUE.encode()
    assert asked == ["Value of a: "]


def test_two_different_passphrases_change_nothing(monkeypatch):
    typed = iter(["correct horse", "incorrect horse"])
    monkeypatch.setattr(sys, "stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    with pytest.raises(CommandError, match="not the same"):
        module.new_passphrase("Passphrase: ")


def test_backup_and_restore_move_secrets_to_another_state_folder(proxyd, tmp_path):
    proxyd("secret", "set", "a", stdin=b"one")
    file = tmp_path / "vault.backup"
    code, out, _ = proxyd("secret", "backup", str(file), "--passphrase", stdin=b"correct horse\n")
    assert (code, out) == (0, f"written: {file}, sealed with the passphrase\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = ("--state-dir", str(tmp_path / "other"))
    code, out, _ = proxyd("secret", "restore", str(file), *other, stdin=b"correct horse\n")
    assert (code, out) == (0, "restored: 1 secrets\n")
    assert json.loads(proxyd("secret", "list", "--json", *other)[1])[0]["name"] == "a"
    assert proxyd("secret", "restore", str(file), *other, stdin=b"correct horse")[0] == 1
    assert proxyd("secret", "restore", str(file), "--replace", *other, stdin=b"correct horse")[0] == 0


def test_backup_with_the_same_key_is_restored_with_its_key_file(proxyd, tmp_path):
    proxyd("secret", "set", "a", stdin=b"one")
    file = tmp_path / "vault.backup"
    assert "sealed with the key file" in proxyd("secret", "backup", str(file))[1]
    key = tmp_path / "key"
    (tmp_path / "state" / "vault" / "key").rename(key)
    other = ("--state-dir", str(tmp_path / "other"))
    assert proxyd("secret", "restore", str(file), *other)[0] == 1
    assert proxyd("secret", "restore", str(file), "--key-file", str(key), *other)[0] == 0


def test_backup_replaces_a_backup_and_nothing_else(proxyd, tmp_path):
    proxyd("secret", "set", "a", stdin=b"one")
    file = tmp_path / "file"
    assert proxyd("secret", "backup", str(file))[0] == 0
    assert proxyd("secret", "backup", str(file))[0] == 0
    file.write_text("precious")
    code, _, err = proxyd("secret", "backup", str(file))
    assert (code, "no backup of a vault" in err) == (1, True)
    assert file.read_text() == "precious"


def test_rekey_to_a_passphrase_a_variable_and_a_file(proxyd, tmp_path, monkeypatch):
    proxyd("secret", "set", "a", stdin=b"one")
    assert proxyd("secret", "rekey", "--passphrase", stdin=b"correct horse")[0] == 0
    assert proxyd("secret", "list")[0] == 1
    monkeypatch.setenv("PROXYD_VAULT_PASSPHRASE", "correct horse")
    assert proxyd("secret", "list")[0] == 0
    monkeypatch.setenv("PROXYD_VAULT_PASSPHRASE", "correct horse")
    monkeypatch.setenv("NEW_KEY", os.urandom(32).hex())
    code, out, _ = proxyd("secret", "rekey", "--env", "NEW_KEY")
    assert (code, out) == (0, "sealed anew with the key in the environment variable NEW_KEY\n")
    assert proxyd("secret", "rekey", "--key-file", str(tmp_path / "own.key"))[0] == 0
    monkeypatch.delenv("NEW_KEY", raising=False)
    assert '"a"' in proxyd("secret", "list", "--json")[1]


def test_configuration_says_where_the_key_is(proxyd, tmp_path):
    config = tmp_path / "proxyd.yaml"
    config.write_text("listeners: [{name: a, mode: forward, address: '127.0.0.1:0'}]\nvault: {key_file: own.key}\n")
    code, _, err = proxyd("secret", "set", "a", "-c", str(config), stdin=b"one")
    assert (code, "openssl rand -hex 32" in err) == (1, True)
    (tmp_path / "own.key").write_text(os.urandom(32).hex())
    (tmp_path / "own.key").chmod(0o600)
    assert proxyd("secret", "set", "a", "-c", str(config), stdin=b"one")[0] == 0
    assert not (tmp_path / "state" / "vault" / "key").exists()


def test_check_warns_of_secrets_that_the_vault_does_not_hold(proxyd, tmp_path):
    config = tmp_path / "proxyd.yaml"
    config.write_text(
        "listeners: [{name: a, mode: forward, address: '127.0.0.1:0'}]\n"
        "services:\n  s: {hosts: [s.example], auth: {scheme: bearer, secret: tickets/token}}\n"
    )
    code, out, err = proxyd("check", "-c", str(config))
    assert (code, "OK" in out) == (0, True)
    assert err == (
        f"warning: {config}:3: the vault holds no secret tickets/token; store it with: "
        "proxyd secret set tickets/token\n"
    )
    proxyd("secret", "set", "tickets/tokens", stdin=b"one")
    assert (
        "(did you mean tickets/tokens?)" in json.loads(proxyd("check", "-c", str(config), "--json")[1])["warnings"][0]
    )
    proxyd("secret", "set", "tickets/token", stdin=b"one")
    assert proxyd("check", "-c", str(config))[2] == ""


def test_ca_renew_forgets_the_root(proxyd):
    first = proxyd("ca", "export")[1]
    assert proxyd("ca", "export")[1] == first
    assert "Start proxyd again" in proxyd("ca", "renew")[1]
    assert proxyd("ca", "export")[1] != first


# --- with a daemon ----------------------------------------------------------------------------------


def test_a_named_daemon_is_asked(proxyd, daemon):
    daemon.answers["secret.set"] = DONE
    code, out, _ = proxyd("secret", "set", "a", "--admin", str(daemon.path), stdin=f"{VALUE}\n".encode())
    assert (code, out) == (0, "stored: a, version 3 (applied by 2 workers)\n")
    assert daemon.calls == [("secret.set", [{"name": "a", "value": VALUE.encode()}])]


def test_a_worker_that_is_late_is_told_beside(proxyd, daemon):
    daemon.answers["secret.rm"] = {**DONE, "workers": 1, "problems": ["worker 0 (pid 7) has not taken the change"]}
    code, out, err = proxyd("secret", "rm", "a", "--admin", str(daemon.path))
    assert (code, out) == (0, "removed: a (applied by 1 worker)\n")
    assert err == "proxyd: worker 0 (pid 7) has not taken the change\n"


def test_list_of_a_daemon_shows_what_is_in_the_vault(proxyd, daemon):
    row = {"versions": [], "age_seconds": 1.0, "last_used": None, "used_by": []}
    daemon.answers["secrets"] = [
        {"name": "a", "source": "vault", "version": 1, **row},
        {"name": "b", "source": "vault", "version": None, **row},
        {"name": "c", "source": "env", "version": None, **row},
    ]
    code, out, _ = proxyd("secret", "list", "--json", "--admin", str(daemon.path))
    assert (code, [each["name"] for each in json.loads(out)]) == (0, ["a"])


def test_daemon_makes_the_backup_and_takes_it_back(proxyd, daemon, tmp_path):
    proxyd("secret", "set", "a", stdin=b"one")
    file = tmp_path / "vault.backup"
    proxyd("secret", "backup", str(file))
    data = file.read_bytes()
    daemon.answers["secret.backup"] = {"data": base64.b64encode(data).decode()}
    daemon.answers["secret.restore"] = {**DONE, "secrets": 1, "ca_changed": True}
    admin = ("--admin", str(daemon.path))
    assert proxyd("secret", "backup", str(tmp_path / "second"), *admin)[0] == 0
    assert (tmp_path / "second").read_bytes() == data
    code, out, _ = proxyd("secret", "restore", str(file), "--replace", *admin)
    assert (code, "start proxyd again" in out) == (0, True)
    ((sent,),) = [params for method, params in daemon.calls if method == "secret.restore"]
    assert (base64.b64decode(sent["data"]), sent["replace"]) == (data, True)


def test_ctl_takes_no_value_from_the_command_line(proxyd, daemon):
    code, _, err = proxyd("ctl", "secret.set", '["a", "x"]', "--admin", str(daemon.path))
    assert (code, "use 'proxyd secret set'" in err, daemon.calls) == (2, True, [])


def test_a_daemon_that_was_named_and_does_not_answer_is_an_error(proxyd, tmp_path):
    assert proxyd("secret", "list", "--admin", str(tmp_path / "absent"))[0] == 3


def test_a_state_folder_stands_in_for_a_daemon_that_does_not_answer(proxyd, tmp_path, monkeypatch):
    monkeypatch.setenv("PROXYD_ADMIN", str(tmp_path / "absent"))
    assert proxyd("secret", "set", "a", "--state-dir", str(tmp_path / "other"), stdin=b"one")[0] == 0
    assert proxyd("secret", "set", "a", stdin=b"one")[0] == 3


def test_a_state_folder_that_was_named_is_meant_itself(proxyd, tmp_path, monkeypatch):
    def fail(*words, **options):
        raise AssertionError("no daemon is to be asked")

    monkeypatch.setattr("proxyd.cli.rpc.call", fail)
    assert proxyd("secret", "set", "a", "--state-dir", str(tmp_path / "other"), stdin=b"one")[0] == 0


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), ("7d", 604800), ("0s", 0)])
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5x", "-", "1h30m", "infs", "nand"])
def test_what_is_no_duration(text):
    with pytest.raises(CommandError):
        duration(text)
