import datetime
import os

import pytest
import trustme

from proxyd.cli.doctor.findings import Verdict
from proxyd.cli.doctor.folders import authority, check, folder


def test_a_folder_that_is_not_there_is_no_fault(tmp_path):
    assert folder("state folder", tmp_path / "none").verdict is Verdict.OK


def test_a_private_folder_is_well(tmp_path):
    tmp_path.chmod(0o700)
    for name, mode in (("ca-root.key", 0o600), ("ca.pem", 0o644)):
        (tmp_path / name).touch(mode)
        (tmp_path / name).chmod(mode)
    assert folder("state folder", tmp_path).verdict is Verdict.OK


def test_a_folder_that_others_can_write_to_fails(tmp_path):
    tmp_path.chmod(0o777)
    found = folder("state folder", tmp_path)
    assert found.verdict is Verdict.FAIL
    assert found.todo == f"chmod go-w {tmp_path}"


@pytest.mark.parametrize(
    ("name", "mode"), [("ca-root.key", 0o640), ("vault/key", 0o604), ("vault/store", 0o644), ("ca.pem", 0o666)]
)
def test_a_file_that_is_open_to_others_fails(tmp_path, name, mode):
    tmp_path.chmod(0o700)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(mode)
    found = folder("state folder", tmp_path)
    assert found.verdict is Verdict.FAIL
    assert str(path) in found.todo


def test_a_file_in_the_folders_place_fails(tmp_path):
    (tmp_path / "state").touch()
    assert folder("state folder", tmp_path / "state").verdict is Verdict.FAIL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_a_warning(tmp_path):
    os.chown(tmp_path, 54321, 54321)
    assert "uid 54321" in folder("state folder", tmp_path).what


def test_the_ca_is_judged_by_its_dates(tmp_path):
    assert authority(tmp_path).verdict is Verdict.OK
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    assert authority(tmp_path).verdict is Verdict.OK
    path.write_text("nonsense")
    assert authority(tmp_path).verdict is Verdict.FAIL


def test_an_ended_certificate_fails(tmp_path):
    ended = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    leaf = trustme.CA().issue_cert("a.example", not_before=ended - datetime.timedelta(days=1), not_after=ended)
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "ca.pem")
    found = authority(tmp_path)
    assert found.verdict is Verdict.FAIL
    assert "2020-01-01" in found.what


def test_all_three_are_looked_at(tmp_path):
    assert [finding.check for finding in check(tmp_path / "s", tmp_path / "r")] == [
        "state folder",
        "runtime folder",
        "local CA",
    ]
