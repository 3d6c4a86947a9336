import pytest
import trustme

from proxyd.config.roots import MAX_BYTES, read_roots
from proxyd.reading.problems import Mistake
from tests.config.conftest import LISTENERS


def test_only_certificates_are_taken_from_the_file(tmp_path):
    one, two = trustme.CA(), trustme.CA()
    path = tmp_path / "roots.pem"
    path.write_bytes(one.private_key_pem.bytes() + b"# a comment\n" + one.cert_pem.bytes() + two.cert_pem.bytes())
    assert read_roots(path) == one.cert_pem.bytes() + two.cert_pem.bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no certificate"),
        (b"hello", "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
        (b"#" * (MAX_BYTES + 1), "more than 4 MiB"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_without_certificates_is_refused(tmp_path, content, message):
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Mistake, match=message):
        read_roots(path)


def test_a_damaged_file_of_roots_is_reported_at_its_key(problems_of, tmp_path):
    (tmp_path / "key.pem").write_bytes(trustme.CA().private_key_pem.bytes())
    assert problems_of(LISTENERS + "tls: {extra_roots: key.pem}\n") == [
        "2:20: tls.extra_roots: the file holds no certificate, or one that is damaged; "
        "expected PEM: BEGIN CERTIFICATE …"
    ]
