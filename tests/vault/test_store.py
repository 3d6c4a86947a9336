import os
import stat
import threading
from dataclasses import replace

import pytest

from proxyd.core.settings import VaultKey
from proxyd.vault import image
from proxyd.vault.errors import NoSuchSecret, VaultError, WrongKey
from proxyd.vault.files import locked
from proxyd.vault.keys import NewKey
from proxyd.vault.store import LONGEST_OVERLAP, Vault, peek


def test_what_is_stored_is_there_for_another_process(open_vault):
    assert open_vault().set("tickets/token", b"s3cret") == 1
    assert open_vault().get("tickets/token").value == b"s3cret"


def test_files_are_for_their_owner_alone_and_hold_no_value(open_vault, state):
    former = os.umask(0)
    try:
        open_vault().set("tickets/token", b"s3cret-value")
    finally:
        os.umask(former)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [*state.rglob("*"), state]}
    assert modes == {
        "state": 0o700, "vault": 0o700, "lock": 0o600, "key": 0o600, "store": 0o600, "vault.anchor": 0o600,
    }  # fmt: skip
    assert not any(b"s3cret" in path.read_bytes() for path in state.rglob("*") if path.is_file())


def test_set_leaves_one_version(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    vault.rotate("a", b"2", 60)
    assert vault.set("a", b"3") == 3
    assert (vault.get("a").value, vault.get("a").former) == (b"3", ())


def test_rotation_keeps_the_former_value_until_its_overlap_ends(open_vault, clock):
    vault = open_vault()
    vault.set("a", b"1")
    assert vault.rotate("a", b"2", 60) == 2
    clock.now += 10
    assert vault.rotate("a", b"3", 20) == 3
    held = vault.get("a")
    assert (held.value, held.former, held.until) == (b"3", (b"2", b"1"), clock.now + 20)
    assert [version.number for version in vault.listing()["a"]] == [3, 2, 1]
    clock.now += 20
    assert vault.get("a").former == (b"1",)
    clock.now += 30
    assert vault.get("a").former == ()
    assert [version.number for version in vault.listing()["a"]] == [3]


def test_rotation_without_overlap_replaces_at_once(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    vault.rotate("a", b"2", 0)
    assert vault.get("a").former == ()


def test_there_is_a_bound_on_versions_in_overlap(open_vault, clock):
    vault = open_vault()
    vault.set("a", b"0")
    for number in range(1, image.MAX_VERSIONS):
        vault.rotate("a", b"%d" % number, 60)
    with pytest.raises(VaultError, match=r"8 versions .* no room"):
        vault.rotate("a", b"x", 60)
    clock.now += 60
    vault.rotate("a", b"x", 60)


def test_removed_is_gone_with_all_versions(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    vault.rotate("a", b"2", 60)
    vault.remove("a")
    with pytest.raises(NoSuchSecret):
        vault.get("a")
    assert open_vault().listing() == {}


def test_missing_secret_is_named_with_its_remedy_and_the_nearest_name(open_vault):
    vault = open_vault()
    vault.set("tickets/token", b"1")
    for act in (vault.get, vault.remove, lambda name: vault.rotate(name, b"2", 1)):
        with pytest.raises(NoSuchSecret, match=r"tickets/tokn \(did you mean tickets/token.* secret set tickets/tokn"):
            act("tickets/tokn")


@pytest.mark.parametrize("name", ["", "@ca-root", "-a", "a b", "a\n", "x" * 129, "ü", "../\0"])
def test_names_are_checked(open_vault, name):
    for act in (open_vault().remove, lambda name: open_vault().set(name, b"1")):
        with pytest.raises(VaultError, match="not the name of a secret"):
            act(name)


@pytest.mark.parametrize(
    ("value", "words"),
    [(b"", "is empty"), (b"x" * (image.MAX_VALUE + 1), "64 KiB"), (b"a\nb", "line break"), (b"a\0b", "NUL")],
)
def test_values_are_checked_and_never_quoted(open_vault, value, words):
    with pytest.raises(VaultError, match=words) as caught:
        open_vault().set("a", value)
    assert "a\nb" not in str(caught.value)
    assert open_vault().set("a", b"x" * image.MAX_VALUE) == 1


@pytest.mark.parametrize("overlap", [-1, LONGEST_OVERLAP + 1])
def test_overlap_is_bounded(open_vault, overlap):
    open_vault().set("a", b"1")
    with pytest.raises(VaultError, match="overlap"):
        open_vault().rotate("a", b"2", overlap)


def test_number_of_secrets_is_bounded(open_vault, monkeypatch):
    monkeypatch.setattr(image, "MAX_SECRETS", 2)
    vault = open_vault()
    vault.set("a", b"1")
    vault.set("b", b"1")
    with pytest.raises(VaultError, match="2 secrets and no more"):
        vault.set("c", b"1")
    vault.set("a", b"2")


def test_size_of_the_file_is_bounded(open_vault, monkeypatch):
    vault = open_vault()
    vault.set("a", b"1")
    monkeypatch.setattr(image, "MAX_FILE", 2048)
    with pytest.raises(VaultError, match="larger than"):
        vault.set("b", b"x" * 2000)
    assert open_vault().get("a").value == b"1"


def test_own_values_are_stored_once_and_listed_nowhere(open_vault):
    vault = open_vault()
    assert vault.add("@ca-root", b"one\nline") == b"one\nline"
    assert vault.add("@ca-root", b"two") == b"one\nline"
    assert vault.listing() == {}
    vault.discard("@ca-root")
    assert vault.add("@ca-root", b"two") == b"two"


def test_writers_at_once_lose_nothing(open_vault):
    start = threading.Barrier(8)

    def write(number):
        start.wait()
        for turn in range(4):
            open_vault().set(f"s{number}", b"%d" % turn)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    vault = open_vault()
    assert {name: vault.get(name).value for name in vault.listing()} == {f"s{number}": b"3" for number in range(8)}
    assert vault.open().image.generation == 32


def test_writer_that_never_ends_is_told_of_and_stops_no_reader(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    with locked(vault.folder):
        with pytest.raises(VaultError, match="another process has been writing"), locked(vault.folder, 0.02):
            pass
        assert open_vault().get("a").value == b"1"


def test_change_by_another_process_is_seen(open_vault):
    one, other = open_vault(), open_vault()
    one.set("a", b"1")
    mark = one.stamp()
    other.set("a", b"2")
    assert one.stamp() != mark
    assert one.get("a").value == b"2"


# --- damage, other files, older files -----------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 5, 20, 40, 200, -40, -1])
def test_a_changed_byte_is_noticed(open_vault, place):
    vault = open_vault()
    vault.set("a", b"1" * 100)
    data = bytearray(vault.path.read_bytes())
    data[place] ^= 1
    vault.path.write_bytes(data)
    with pytest.raises(VaultError):
        open_vault().get("a")
    with pytest.raises(VaultError):
        open_vault().set("b", b"2")


def test_a_torn_file_is_noticed_wherever_it_ends(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    data = vault.path.read_bytes()
    for end in range(0, len(data), 7):
        vault.path.write_bytes(data[:end])
        with pytest.raises(VaultError):
            open_vault().get("a")


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"rubbish" * 99, "is not a vault of proxyd"), (b"proxyd-vault 9\n" + b"x" * 99, "another version of proxyd")],
)
def test_foreign_files_are_told_from_damaged_ones(open_vault, data, words):
    vault = open_vault()
    vault.set("a", b"1")
    vault.path.write_bytes(data)
    with pytest.raises(VaultError, match=words):
        open_vault().get("a")


def test_values_cannot_change_places(open_vault):
    """Even whoever could authenticate a file could not pass one secret off as another."""
    vault = open_vault()
    vault.set("a", b"1")
    vault.set("b", b"2")
    opened = vault.open()
    one, other = opened.image.versions("a")[0], opened.image.versions("b")[0]
    swapped = replace(opened.image, entries=(replace(one, sealed=other.sealed), replace(other, sealed=one.sealed)))
    vault._write(swapped, opened.keys, opened.key)
    with pytest.raises(VaultError, match=r"secret a .* damaged"):
        open_vault().get("a")


def test_an_older_file_is_refused(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    older = vault.path.read_bytes()
    vault.set("a", b"2")
    vault.path.write_bytes(older)
    for act in (lambda: open_vault().get("a"), lambda: open_vault().set("b", b"3")):
        with pytest.raises(VaultError, match=r"generation 1, the latest was 2.*rekey --accept"):
            act()


def test_an_older_file_with_its_anchor_is_noticed_by_whoever_saw_the_newer(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    older = vault.path.read_bytes(), vault.anchor.path.read_bytes()
    vault.set("a", b"2")
    assert vault.get("a").value == b"2"
    vault.path.write_bytes(older[0])
    vault.anchor.path.write_bytes(older[1])
    with pytest.raises(VaultError, match="went back from generation 2 to 1"):
        vault.get("a")
    assert open_vault().get("a").value == b"1"  # a process that starts afterwards cannot know


def test_a_missing_anchor_is_refused(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    vault.set("a", b"2")
    vault.anchor.path.unlink()
    with pytest.raises(VaultError, match="is missing"):
        open_vault().get("a")


def test_a_changed_anchor_is_refused(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    data = bytearray(vault.anchor.path.read_bytes())
    data[-1] ^= 1
    vault.anchor.path.write_bytes(data)
    with pytest.raises(VaultError, match="damaged or was changed"):
        open_vault().get("a")


def test_another_file_of_the_same_generation_is_refused(open_vault, state, tmp_path):
    vault = open_vault()
    vault.set("a", b"1")
    older = vault.path.read_bytes(), vault.anchor.path.read_bytes()
    vault.set("a", b"2")
    fork = vault.path.read_bytes()
    vault.path.write_bytes(older[0])
    vault.anchor.path.write_bytes(older[1])
    open_vault().set("a", b"3")
    vault.path.write_bytes(fork)
    with pytest.raises(VaultError, match="not the file that was written last"):
        open_vault().get("a")


def test_another_vault_is_refused(open_vault, tmp_path, clock):
    vault = open_vault()
    vault.set("a", b"1")
    other = Vault(tmp_path / "other", environment={}, clock=clock)
    other.set("a", b"2")
    for name in ("store", "key"):
        (vault.folder / name).write_bytes((other.folder / name).read_bytes())
    with pytest.raises(VaultError, match="another vault"):
        open_vault().get("a")


def test_what_was_put_back_on_purpose_can_be_accepted(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    older = vault.path.read_bytes()
    vault.set("a", b"2")
    vault.path.write_bytes(older)
    open_vault().rekey(accept=True)
    assert open_vault().get("a").value == b"1"
    assert open_vault().open().image.generation == 3  # beyond every file that was ever the latest


def test_a_vault_that_is_gone_is_not_begun_anew_unnoticed(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    vault.path.unlink()
    for act in (lambda: open_vault().get("a"), lambda: open_vault().set("a", b"1")):
        with pytest.raises(VaultError, match="is gone"):
            act()
    vault.anchor.path.unlink()
    open_vault().set("b", b"1")
    assert list(open_vault().listing()) == ["b"]


def test_key_that_is_open_to_others_is_refused(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    (vault.folder / "key").chmod(0o640)
    with pytest.raises(VaultError, match=r"open to others \(mode 0640"):
        open_vault().get("a")


# --- keys -------------------------------------------------------------------------------------------


def test_rekey_makes_a_new_key_and_data_key(open_vault):
    vault = open_vault()
    vault.set("a", b"1")
    vault.add("@ca-root", b"root")
    key, store = (vault.folder / "key").read_bytes(), vault.path.read_bytes()
    vault.rekey()
    assert (vault.folder / "key").read_bytes() != key
    assert open_vault().get("a").value == b"1"
    assert open_vault().get("@ca-root").value == b"root"
    (vault.folder / "key").write_bytes(key)
    with pytest.raises(WrongKey, match="sealed with the key file"):
        open_vault().get("a")
    assert store[-32:] != vault.path.read_bytes()[-32:]


def test_a_process_that_runs_finds_the_new_key(open_vault):
    one = open_vault()
    one.set("a", b"1")
    open_vault().rekey()
    assert one.get("a").value == b"1"


@pytest.mark.usefixtures("quick_scrypt")
def test_rekey_to_a_passphrase_and_back_to_a_file(open_vault, tmp_path):
    vault = open_vault()
    vault.set("a", b"1")
    info = vault.rekey(NewKey("passphrase", "VAULT_WORDS", b"correct horse"))
    assert (info.kind, info.place) == ("passphrase", "VAULT_WORDS")
    assert not (vault.folder / "key").exists()
    environment = {"VAULT_WORDS": "correct horse", "OTHER": "x"}
    again = open_vault(environment=environment)
    assert again.get("a").value == b"1"
    assert environment == {"OTHER": "x"}  # removed once it was read
    assert open_vault(ask=lambda prompt: b"correct horse").get("a").value == b"1"
    with pytest.raises(WrongKey):
        open_vault(environment={"VAULT_WORDS": "incorrect horse"}).get("a")
    again.rekey(NewKey("file", str(tmp_path / "own.key")))
    assert open_vault(VaultKey(key_file=str(tmp_path / "own.key"))).get("a").value == b"1"
    assert open_vault().get("a").value == b"1"  # the vault remembers where its key is


def test_sealed_file_that_others_can_read_is_read(open_vault):
    """Kubernetes opens volumes to a pod's group."""
    vault = open_vault()
    vault.set("a", b"1")
    vault.path.chmod(0o660)
    vault.anchor.path.chmod(0o660)
    assert open_vault().get("a").value == b"1"


def test_peek_needs_no_key(open_vault, state):
    assert peek(state) is None
    vault = open_vault()
    vault.set("b", b"1")
    vault.add("@ca-root", b"x")
    vault.set("a", b"1")
    (vault.folder / "key").unlink()
    assert peek(state) == ["a", "b"]


def test_nothing_printable_shows_a_key_or_value(open_vault):
    vault = open_vault()
    vault.set("a", b"s3cret")
    opened = vault.open()
    for thing in (vault, opened.keys, opened.key, vault.get("a"), NewKey("env", "X", b"s3cret")):
        assert b"s3cret".hex() not in repr(thing)
        assert "s3cret" not in repr(thing)
        assert opened.key.material.hex() not in repr(thing)
        assert repr(opened.key.material)[2:20] not in repr(thing)
