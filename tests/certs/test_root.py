import os
import threading

import pytest
from cryptography import x509

from proxyd.certs import root as module
from proxyd.certs.root import ROOT_FILE, AuthorityError, open_root


class Shelf:
    """Keeps one value in memory."""

    title = "the shelf"

    def __init__(self, data=None):
        self.data = data
        self.lock = threading.Lock()

    def load(self):
        return self.data

    def store(self, data):
        with self.lock:
            if self.data is None:
                self.data = data
            return self.data


@pytest.fixture
def shelf():
    return Shelf()


def legacy(folder, root=None, mode=0o600):
    """What an earlier version left."""
    path = folder / ROOT_FILE
    path.write_bytes(module._encode(root or module.make_root()))
    path.chmod(mode)
    return path


def test_root_is_made_once_and_kept(tmp_path, shelf):
    first = open_root(tmp_path, shelf)
    assert open_root(tmp_path, shelf).certificate == first.certificate
    assert os.listdir(tmp_path) == []


def test_two_starts_at_once_make_one_root(tmp_path, shelf):
    roots = []
    start = threading.Barrier(8)

    def begin():
        start.wait()
        roots.append(open_root(tmp_path, shelf).certificate)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({root.serial_number for root in roots}) == 1
    assert len(roots) == 8


def test_root_is_a_ca_for_ten_years_that_signs_one_level(tmp_path, shelf):
    certificate = open_root(tmp_path, shelf).certificate
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    assert 3640 < days < 3660
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 1)


def test_file_of_an_earlier_version_is_taken_in_and_removed(tmp_path, shelf):
    root = module.make_root()
    path = legacy(tmp_path, root)
    assert open_root(tmp_path, shelf).certificate == root.certificate
    assert not path.exists()
    assert open_root(tmp_path, shelf).certificate == root.certificate


def test_file_that_was_taken_in_before_a_crash_is_removed(tmp_path):
    root = module.make_root()
    path = legacy(tmp_path, root)
    assert open_root(tmp_path, Shelf(path.read_bytes())).certificate == root.certificate
    assert not path.exists()


def test_file_with_another_root_than_the_vaults_is_left_with_advice(tmp_path):
    path = legacy(tmp_path)
    kept = module._encode(module.make_root())
    shelf = Shelf(kept)
    with pytest.raises(AuthorityError, match="holds another local CA than the shelf"):
        open_root(tmp_path, shelf)
    assert path.exists()
    assert shelf.data == kept


def test_file_stays_when_it_cannot_be_taken_in(tmp_path, shelf):
    path = legacy(tmp_path)

    def refuse(data):
        raise RuntimeError("no room")

    shelf.store = refuse
    with pytest.raises(RuntimeError):
        open_root(tmp_path, shelf)
    assert path.exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o644), "is open to others .mode 0644"),
        (lambda path: path.write_bytes(b"rubbish"), "does not hold a private key"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be taken"),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "cannot be taken"),
    ],
    ids=["open to others", "rubbish", "a FIFO", "a folder", "a link"],
)
def test_spoilt_file_is_refused_with_advice(tmp_path, shelf, spoil, words):
    spoil(legacy(tmp_path))
    with pytest.raises(AuthorityError, match=words):
        open_root(tmp_path, shelf)
    assert shelf.data is None


def test_key_of_another_root_is_refused(tmp_path):
    one, other = module.make_root(), module.make_root()
    mixed = Shelf(module._encode(module.Root(one.key, other.certificate)))
    with pytest.raises(AuthorityError, match=r"in the shelf do not belong together.*ca renew"):
        open_root(tmp_path, mixed)


def test_no_key_in_repr(tmp_path, shelf):
    assert repr(open_root(tmp_path, shelf)).startswith("<Root serial ")
