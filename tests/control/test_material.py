"""What PEM material holds: each certificate under a name of its own, whatever else stands beside it."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from proxyd.control.ages import Ages
from proxyd.control.certificates import of_secret
from proxyd.control.material import MOST, known
from proxyd.core.secret import Secret
from proxyd.core.settings import Ages as Policy
from proxyd.core.settings import SecretSource
from proxyd.telemetry.cells import Cells
from proxyd.vault.state import SecretState

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
BEGINS = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ENDS = BEGINS + datetime.timedelta(days=90)


def certificate(subject, issuer="root", *names, serial=1):
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .not_valid_before(BEGINS)
        .not_valid_after(ENDS)
        .serial_number(serial)
        .public_key(KEY.public_key())
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def crl(issuer="root", due=ENDS):
    builder = x509.CertificateRevocationListBuilder().issuer_name(_name(issuer)).last_update(BEGINS).next_update(due)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def state(name, value, policy=None):
    return SecretState(SecretSource(name, file="/x", ages=policy or Policy()), Secret(name, value), "", 1, 0.0)


def found(name, value):
    return [(one.kind, one.name) for one in known(name, value)]


def test_a_chain_is_its_leaf_and_what_stands_behind_it():
    chain = certificate("leaf", "middle") + certificate("middle")
    assert found("service/jira/certificate", chain) == [
        ("client", "service/jira"),
        ("chain", "service/jira/certificate: CN=middle"),
    ]
    assert found("listener/peers/0/certificate", KEY_PEM + chain)[0] == ("server", "listener/peers/0")
    assert found("something/certificate", chain)[0] == ("certificate", "something")


def test_bundles_and_lists_are_told_apart_one_by_one():
    root = certificate("root")
    bundle = root + crl() + certificate("other") + certificate("root", serial=2) + root
    rows = found("listener/peers/roots", bundle)
    assert rows[:3] == [
        ("trusted", "listener/peers/roots: CN=root"),
        ("crl", "listener/peers/roots: CN=root"),
        ("trusted", "listener/peers/roots: CN=other"),
    ]
    assert rows[3][1].startswith("listener/peers/roots: CN=root (")
    assert len(rows) == len(set(rows)) == 4, "each once, and with a name of its own"


def test_what_a_certificate_says_of_itself_is_there():
    names = x509.DNSName("a.example"), x509.UniformResourceIdentifier("spiffe://lab.example/app")
    (one,) = known("service/jira/certificate", certificate("leaf", "middle", *names, serial=0xABC))
    what = one.what
    assert (what.subject, what.issuer, what.serial) == ("CN=leaf", "CN=middle", "abc")
    assert what.names == ("a.example", "spiffe://lab.example/app")
    assert (what.begins, what.ends) == (BEGINS.timestamp(), ENDS.timestamp())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        KEY_PEM,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        certificate("a")[:-20],
    ],
)
def test_damaged_and_other_things_are_passed_over(value):
    assert found("listener/peers/certificate", value) == []
    assert len(found("listener/peers/certificate", value + b"\n" + certificate("good"))) <= 1


def test_the_number_of_certificates_is_bounded():
    assert len(found("listener/peers/roots", b"".join(certificate(f"r{at}") for at in range(MOST + 5)))) == MOST


def test_secrets_of_other_names_show_their_first_certificate():
    chain = KEY_PEM + certificate("leaf") + certificate("middle")
    assert [(one.kind, one.name) for one in of_secret(state("idp/client", chain))] == [("secret", "idp/client")]
    assert list(of_secret(state("token", b"value"))) == []


def test_one_root_that_is_over_takes_no_bundle_away():
    ages = Ages(lambda *_: None, Cells(), lambda: ENDS.timestamp() + 1)
    deny = Policy(deny=True)
    assert ages.judged(state("tls:listener/peers/roots", certificate("old"), deny)).value is not None
    assert ages.judged(state("idp/client", certificate("old"), deny)).value is None
