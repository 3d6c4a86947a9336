import pytest

from proxyd.vault.backup import backup, key_of, restore
from proxyd.vault.errors import VaultError, WrongKey
from proxyd.vault.keys import parse_key
from proxyd.vault.store import Vault

pytestmark = pytest.mark.usefixtures("quick_scrypt")


@pytest.fixture
def elsewhere(tmp_path, clock):
    """Another machine."""
    return Vault(tmp_path / "elsewhere", environment={}, clock=clock)


@pytest.fixture
def filled(open_vault):
    vault = open_vault()
    vault.add("@ca-root", b"root")
    vault.set("a", b"1")
    vault.rotate("a", b"2", 60)
    vault.set("b", b"3")
    return vault


def test_backup_with_a_passphrase_moves_everything_to_another_machine(filled, elsewhere):
    data = backup(filled, b"correct horse")
    assert key_of(data).kind == "passphrase"
    elsewhere.add("@ca-root", b"made at the first start")
    assert restore(elsewhere, data, passphrase=b"correct horse") == 2
    assert (elsewhere.get("a").value, elsewhere.get("a").former) == (b"2", (b"1",))
    assert elsewhere.get("b").value == b"3"
    assert elsewhere.get("@ca-root").value == b"root"


def test_backup_with_the_same_key_needs_that_key(filled, elsewhere):
    data = backup(filled)
    key = parse_key((filled.folder / "key").read_bytes(), "key")
    own = filled.folder / "key"
    own.rename(own.with_name("hidden"))  # another machine has no such file
    with pytest.raises(WrongKey, match="--key-file"):
        restore(elsewhere, data)
    own.with_name("hidden").rename(own)
    assert restore(elsewhere, data, key=key) == 2
    filled.set("b", b"4")
    assert restore(filled, data, replacing=True) == 2
    assert filled.get("b").value == b"3"


def test_secrets_are_not_given_up_unasked(filled, elsewhere):
    data = backup(filled, b"correct horse")
    elsewhere.set("c", b"9")
    with pytest.raises(VaultError, match=r"holds secrets \(1\).*--replace"):
        restore(elsewhere, data, passphrase=b"correct horse")
    assert list(elsewhere.listing()) == ["c"]
    restore(elsewhere, data, passphrase=b"correct horse", replacing=True)
    assert list(elsewhere.listing()) == ["a", "b"]


def test_lost_vault_is_restored_and_goes_on(filled, open_vault):
    data = backup(filled, b"correct horse")
    filled.path.unlink()
    assert restore(open_vault(), data, passphrase=b"correct horse") == 2
    open_vault().set("d", b"5")
    assert list(open_vault().listing()) == ["a", "b", "d"]


@pytest.mark.parametrize("spoil", ["store", "key"])
def test_vault_beyond_use_is_restored_only_when_told_so(filled, open_vault, spoil):
    data = backup(filled, b"correct horse")
    (filled.folder / spoil).unlink()
    if spoil == "store":
        filled.path.write_bytes(b"rubbish")
        filled.path.chmod(0o600)
    with pytest.raises(VaultError, match="--replace"):
        restore(open_vault(), data, passphrase=b"correct horse")
    assert restore(open_vault(), data, passphrase=b"correct horse", replacing=True) == 2
    assert open_vault().get("a").value == b"2"


def test_versions_whose_overlap_has_ended_are_not_brought_back(filled, elsewhere, clock):
    data = backup(filled, b"correct horse")
    clock.now += 61
    restore(elsewhere, data, passphrase=b"correct horse")
    assert elsewhere.get("a").former == ()


@pytest.mark.parametrize("place", [0, 30, 300, -1])
def test_changed_backup_is_refused(filled, elsewhere, place):
    data = bytearray(backup(filled))
    data[place] ^= 1
    key = parse_key((filled.folder / "key").read_bytes(), "key")
    with pytest.raises(VaultError):
        restore(elsewhere, bytes(data), key=key)
    assert elsewhere.listing() == {}


def test_wrong_passphrase_is_refused(filled, elsewhere):
    with pytest.raises(WrongKey, match="another passphrase"):
        restore(elsewhere, backup(filled, b"correct horse"), passphrase=b"incorrect horse")


def test_there_is_nothing_to_back_up_without_a_vault(elsewhere):
    with pytest.raises(VaultError, match="nothing to back up"):
        backup(elsewhere)
