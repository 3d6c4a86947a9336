import base64
import os

import pytest

from proxyd.core.settings import VaultKey
from proxyd.vault.cipher import Scrypt
from proxyd.vault.errors import VaultError, WrongKey
from proxyd.vault.keys import KEY_VARIABLE, PASSPHRASE_VARIABLE, NewKey, from_passphrase, parse_key

RAW = bytes(range(32))
OTHER = bytes(range(1, 33))


@pytest.mark.parametrize(
    "text", [RAW, RAW.hex().encode() + b"\n", RAW.hex().upper().encode(), base64.b64encode(RAW) + b"\r\n"]
)
def test_a_key_is_32_bytes_in_any_of_three_spellings(text):
    assert parse_key(text, "x") == RAW


@pytest.mark.parametrize("text", [b"", b"short", RAW.hex().encode()[:-1], base64.b64encode(RAW[:-1]), b"x" * 4000])
def test_anything_else_is_no_key_and_is_not_quoted(text):
    with pytest.raises(VaultError, match=r"key file X holds no key .*openssl rand -hex 32") as caught:
        parse_key(text, "key file X")
    assert not text or text.decode() not in str(caught.value)


def credential(tmp_path, name="proxyd-vault-key", key=RAW):
    (tmp_path / "credentials").mkdir(exist_ok=True)
    (tmp_path / "credentials" / name).write_bytes(key)
    return {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}


def test_a_new_vault_takes_the_credential_before_the_variable(open_vault, tmp_path):
    environment = {**credential(tmp_path), KEY_VARIABLE: OTHER.hex()}
    vault = open_vault(environment=environment)
    vault.set("a", b"1")
    assert vault.key_info().title == "systemd credential proxyd-vault-key"
    assert not (vault.folder / "key").exists()


def test_a_new_vault_takes_the_variable_before_the_passphrase(open_vault):
    vault = open_vault(environment={KEY_VARIABLE: RAW.hex(), PASSPHRASE_VARIABLE: "correct horse"})
    vault.set("a", b"1")
    assert vault.key_info().kind == "env"
    assert vault.keyring.variables == [KEY_VARIABLE]  # what `proxyd exec` keeps from the command
    assert open_vault(environment={KEY_VARIABLE: RAW.hex()}).get("a").value == b"1"


def test_a_new_vault_takes_the_passphrase_when_nothing_else_is_there(open_vault):
    vault = open_vault(environment={PASSPHRASE_VARIABLE: "correct horse"})
    vault.set("a", b"1")
    assert vault.key_info().kind == "passphrase"
    assert (vault.key_info().n, vault.key_info().r, vault.key_info().p) == (2**17, 8, 1)


def test_the_vaults_own_key_counts_whatever_else_is_there(open_vault, tmp_path):
    vault = open_vault()
    vault.set("a", b"1")
    again = open_vault(environment={**credential(tmp_path), KEY_VARIABLE: OTHER.hex()})
    assert again.get("a").value == b"1"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (VaultKey(key_file="/nowhere/key"), "key file /nowhere/key .*umask 077; openssl rand -hex 32 > /nowhere/key"),
        (VaultKey(env="NO_KEY"), "environment variable NO_KEY"),
        (VaultKey(credential="other"), "systemd credential other"),
        (VaultKey(passphrase_env="NO_WORDS"), "environment variable NO_WORDS"),
    ],
)
def test_the_configured_place_alone_counts(open_vault, wanted, words, tmp_path):
    environment = {**credential(tmp_path), KEY_VARIABLE: RAW.hex()}
    with pytest.raises(VaultError, match=f"key is missing: {words}"):
        open_vault(wanted, environment).set("a", b"1")
    open_vault(environment={}).set("a", b"1")
    with pytest.raises(WrongKey, match=r"configuration names \(vault:\) does not fit"):
        open_vault(wanted, environment).get("a")


@pytest.mark.parametrize("name", ["../key", "a/b", ".x"])
def test_a_credentials_name_is_no_path(open_vault, tmp_path, name):
    environment = credential(tmp_path)
    (tmp_path / "key").write_bytes(RAW)
    with pytest.raises(VaultError, match="key is missing"):
        open_vault(VaultKey(credential=name), environment).set("a", b"1")


def test_key_file_that_is_open_to_others_is_refused(open_vault, tmp_path):
    path = tmp_path / "key"
    path.write_text(RAW.hex())
    path.chmod(0o644)
    with pytest.raises(VaultError, match="is open to others"):
        open_vault(VaultKey(key_file=str(path))).set("a", b"1")


def test_key_file_behind_a_link_is_read(open_vault, tmp_path):
    """Kubernetes mounts secrets so."""
    (tmp_path / "data").write_text(RAW.hex())
    (tmp_path / "data").chmod(0o400)
    (tmp_path / "key").symlink_to("data")
    open_vault(VaultKey(key_file=str(tmp_path / "key"))).set("a", b"1")
    assert open_vault(VaultKey(key_file=str(tmp_path / "key"))).get("a").value == b"1"


def test_rekey_in_a_configured_file_replaces_its_content(open_vault, tmp_path):
    path = tmp_path / "key"
    path.write_text(RAW.hex())
    path.chmod(0o600)
    wanted = VaultKey(key_file=str(path))
    open_vault(wanted).set("a", b"1")
    open_vault(wanted).rekey()
    assert path.read_text() != RAW.hex()
    assert sorted(os.listdir(tmp_path)) == ["key", "state"]
    assert open_vault(wanted).get("a").value == b"1"


def test_rekey_of_a_variable_keeps_the_key_and_changes_the_data_key(open_vault):
    environment = {KEY_VARIABLE: RAW.hex()}
    vault = open_vault(environment=environment)
    vault.set("a", b"1")
    former = vault.open().keys
    assert vault.rekey().kind == "env"
    assert vault.open().keys.data != former.data
    assert vault.get("a").value == b"1"


def test_rekey_to_a_credential_takes_its_bytes(open_vault, tmp_path):
    vault = open_vault()
    vault.set("a", b"1")
    vault.rekey(NewKey("credential", "proxyd-vault-key", RAW.hex().encode()))
    assert open_vault(environment=credential(tmp_path)).get("a").value == b"1"
    with pytest.raises(WrongKey, match="systemd credential proxyd-vault-key"):
        open_vault().get("a")


def test_a_short_passphrase_is_refused():
    with pytest.raises(VaultError, match="shorter than 8"):
        from_passphrase(b"seven77", "X", b"salt" * 4, Scrypt(2, 1, 1))


@pytest.mark.parametrize(
    "work", [Scrypt(0, 8, 1), Scrypt(3, 8, 1), Scrypt(2**17, 0, 1), Scrypt(2**30, 8, 1), Scrypt(2, 8, 99)]
)
def test_insane_work_is_recognised(work):
    assert not work.is_sane
    assert Scrypt().is_sane
