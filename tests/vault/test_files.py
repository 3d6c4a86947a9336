import os

import pytest

from proxyd.vault import files
from proxyd.vault.errors import VaultError
from proxyd.vault.store import Vault


def test_a_file_is_replaced_as_a_whole_and_leftovers_of_a_killed_writer_go(tmp_path):
    path = tmp_path / "store"
    (tmp_path / ".store.new").write_text("half")
    files.replace(path, b"one")
    files.replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["store"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_is_full_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "store"
    files.replace(path, b"one")

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["store"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"x" * 11), "more than 10 bytes"),
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("elsewhere"), "let proxyd's user write"),
    ],
    ids=["too long", "a folder", "a FIFO", "a link"],
)
def test_what_is_no_file_of_ours_is_refused(tmp_path, make, words):
    path = tmp_path / "store"
    make(path)
    with pytest.raises(VaultError, match=words):
        files.read(path, 10, private=False)


@pytest.mark.parametrize(
    ("owner", "mode", "exposed"),
    [
        ("own", 0o600, False),
        ("own", 0o400, False),
        ("own", 0o640, True),
        ("own", 0o604, True),
        ("other", 0o600, False),
        ("other", 0o440, False),
        ("other", 0o640, False),
        ("other", 0o660, True),
        ("other", 0o644, True),
    ],
)
def test_own_files_are_for_their_owner_others_may_be_read_through_the_group(owner, mode, exposed):
    uid = os.geteuid() + (owner == "other")
    found = os.stat_result((0o100000 | mode, 1, 1, 1, uid, 0, 10, 0, 0, 0))
    assert files.is_exposed(found) is exposed


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VaultError, match="let proxyd's user write to the state folder"):
        Vault(tmp_path / "file" / "state", environment={}).set("a", b"1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act in another user's folder")
def test_what_root_makes_in_another_users_folder_is_that_users(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    vault = Vault(state, environment={})
    vault.set("a", b"1")
    vault.rekey()
    assert {path.stat().st_uid for path in state.rglob("*")} == {65534}
