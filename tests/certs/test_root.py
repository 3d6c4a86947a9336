import os
import stat
import threading

import pytest
from cryptography import x509

from proxyd.certs import root as module
from proxyd.certs.root import ROOT_FILE, AuthorityError, open_root


def test_root_is_made_once_and_kept(tmp_path):
    first = open_root(tmp_path / "state")
    assert open_root(tmp_path / "state").certificate == first.certificate
    assert os.listdir(tmp_path / "state") == [ROOT_FILE]


def test_key_is_readable_by_its_owner_alone(tmp_path):
    former = os.umask(0)
    try:
        open_root(tmp_path / "state")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "state" / ROOT_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_two_starts_at_once_make_one_root(tmp_path):
    roots = []
    start = threading.Barrier(8)

    def begin():
        start.wait()
        roots.append(open_root(tmp_path).certificate)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({root.serial_number for root in roots}) == 1
    assert len(roots) == 8
    assert os.listdir(tmp_path) == [ROOT_FILE]


def test_root_is_a_ca_for_ten_years_that_signs_one_level(tmp_path):
    certificate = open_root(tmp_path).certificate
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    assert 3640 < days < 3660
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o644), "is open to others .mode 0644"),
        (lambda path: path.write_bytes(b"rubbish"), "does not hold a private key"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be kept"),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "cannot be kept"),
    ],
    ids=["open to others", "rubbish", "a FIFO", "a folder", "a link"],
)
def test_spoilt_root_is_refused_with_advice(tmp_path, spoil, words):
    open_root(tmp_path)
    spoil(tmp_path / ROOT_FILE)
    with pytest.raises(AuthorityError, match=words):
        open_root(tmp_path)


def test_key_of_another_root_is_refused(tmp_path):
    one, other = module.make_root(), module.make_root()
    path = tmp_path / ROOT_FILE
    path.write_bytes(module._encode(module.Root(one.key, other.certificate)))
    path.chmod(0o600)
    with pytest.raises(AuthorityError, match="do not belong together"):
        open_root(tmp_path)


def test_folder_that_cannot_be_made_is_an_authority_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AuthorityError, match="cannot be kept"):
        open_root(tmp_path / "file" / "state")


def test_no_key_in_repr(tmp_path):
    assert repr(open_root(tmp_path)).startswith("<Root serial ")
