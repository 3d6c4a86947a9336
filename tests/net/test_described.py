from datetime import UTC, datetime

import pytest
from cryptography import x509

from proxyd.certs.authority import Authority
from proxyd.certs.root import make_root
from proxyd.core.described import MAX_TEXT
from proxyd.net.described import describe
from tests.control.fakes import service


@pytest.fixture
def leaf():
    authority = Authority(make_root())
    authority.constrain(service("a", "api.example").hosts)
    return x509.load_pem_x509_certificate(authority.mint("api.example").chain_pem)


class Odd:
    """A certificate whose names cannot be read, or are long."""

    serial_number = 1
    not_valid_before_utc = datetime(2026, 1, 1, tzinfo=UTC)
    not_valid_after_utc = datetime(2027, 1, 1, tzinfo=UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 64)] * 9)

    @property
    def subject(self):
        raise ValueError("a string of an unknown type")

    @property
    def extensions(self):
        raise ValueError("no extensions")

    def fingerprint(self, algorithm):
        return bytes(32)


def test_a_certificate_is_described(leaf):
    found = describe(leaf)
    assert (found.names, found.subject) == (("api.example",), "O=proxyd interception")
    assert found.begins == leaf.not_valid_before_utc.timestamp()
    assert found.ends == leaf.not_valid_after_utc.timestamp()
    assert int(found.serial, 16) == leaf.serial_number


def test_what_cannot_be_read_is_left_out_and_what_is_long_is_cut():
    found = describe(Odd())
    assert (found.subject, found.names, found.serial, len(found.issuer)) == ("", (), "1", MAX_TEXT)
    assert found.ends == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
