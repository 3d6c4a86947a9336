import os
import stat

import pytest

from proxyd.certs.export import export, replace, system_roots

LOCAL = b"-----BEGIN CERTIFICATE-----\nlocal\n-----END CERTIFICATE-----\n"


def test_bundle_is_the_systems_roots_and_the_local_one(tmp_path):
    system = tmp_path / "system.crt"
    system.write_bytes(b"system, no newline at its end")
    root, bundle = export(tmp_path, LOCAL, [tmp_path / "missing.crt", system])
    assert root.read_bytes() == LOCAL
    assert bundle.read_bytes() == b"system, no newline at its end\n" + LOCAL
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, bundle)} == {0o644}


def test_certifi_stands_in_where_the_system_has_no_bundle(tmp_path):
    assert system_roots([tmp_path / "missing"]).count(b"BEGIN CERTIFICATE") > 100


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "ca.pem"
    replace(path, b"old", 0o644)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(path, b"new", 0o644)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["ca.pem"]
