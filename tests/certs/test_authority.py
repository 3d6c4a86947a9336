import datetime
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from proxyd.certs import authority as module
from proxyd.certs.authority import Authority
from proxyd.certs.root import make_root
from proxyd.core.service import HostPattern

OPENSSL = shutil.which("openssl")


def pattern(text):
    return HostPattern(text.removeprefix("*."), None, text.startswith("*."))


def make(*hosts, unconstrained=False):
    authority = Authority(make_root())
    authority.constrain(map(pattern, hosts), unconstrained)
    return authority


def chain(leaf):
    return x509.load_pem_x509_certificates(leaf.chain_pem)


def constraints_of(leaf):
    return chain(leaf)[1].extensions.get_extension_for_class(x509.NameConstraints)


def handshake(authority, leaf, host, tmp_path):
    """What Python's strictest client makes of the leaf: None, or the verifier's complaint."""
    files = tmp_path / "leaf.pem"
    files.write_bytes(leaf.chain_pem + leaf.key_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=authority.root_pem.decode())
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)

    def serve():
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join()
    return None


def openssl_verify(authority, leaf, tmp_path):
    root, rest, first = tmp_path / "root.pem", tmp_path / "chain.pem", tmp_path / "first.pem"
    root.write_bytes(authority.root_pem)
    rest.write_bytes(leaf.chain_pem)
    first.write_bytes(chain(leaf)[0].public_bytes(serialization.Encoding.PEM))
    command = [OPENSSL, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, "-untrusted", rest, first]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("services", "host"),
    [
        (["api.example"], "api.example"),
        (["*.example"], "deep.api.example"),
        (["127.0.0.1"], "127.0.0.1"),
        (["::1"], "::1"),
        (["api.example", "10.1.2.3", "*.other.example"], "10.1.2.3"),
        (["api.example", "10.1.2.3", "*.other.example"], "a.other.example"),
        (["a-name-of-more-than-sixty-four-characters.which-no-common-name-could-hold.example"],) * 2,
    ],
)
def test_leaf_passes_strict_verification(services, host, tmp_path):
    host = host if isinstance(host, str) else host[0]
    authority = make(*services)
    leaf = authority.mint(host)
    assert handshake(authority, leaf, host, tmp_path) is None
    if OPENSSL:
        result = openssl_verify(authority, leaf, tmp_path)
        assert result.returncode == 0, result.stderr


def test_unconstrained_leaf_passes_strict_verification(tmp_path):
    authority = make("api.example", unconstrained=True)
    for host in ("anything.example", "192.0.2.1"):
        leaf = authority.mint(host)
        assert handshake(authority, leaf, host, tmp_path) is None
    with pytest.raises(x509.ExtensionNotFound):
        constraints_of(leaf)


@pytest.mark.parametrize(
    ("services", "host", "is_ip"),
    [
        (["api.example"], "evil.example", False),
        (["api.example"], "127.0.0.1", True),
        (["api.example"], "::1", True),
        (["127.0.0.1"], "api.example", False),
        (["127.0.0.1"], "127.0.0.2", True),
        (["*.api.example"], "api.example.evil", False),
    ],
)
def test_verifiers_reject_a_leaf_outside_of_the_constraints(services, host, is_ip, tmp_path):
    authority = make(*services)
    with pytest.raises(ValueError, match="not a host of any service"):
        authority.mint(host)
    leaf = authority._mint(host, is_ip)  # what a flaw in our own check would let out
    assert "subtree violation" in handshake(authority, leaf, host, tmp_path)
    if OPENSSL:
        assert "subtree violation" in openssl_verify(authority, leaf, tmp_path).stderr


def test_leaf_lives_for_a_day_at_most_and_has_one_name():
    leaf = make("api.example", "other.example").mint("API.example.")
    certificate = chain(leaf)[0]
    lived = certificate.not_valid_after_utc - certificate.not_valid_before_utc + datetime.timedelta(seconds=1)
    assert lived == datetime.timedelta(hours=24)
    assert certificate.not_valid_before_utc < datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=59)
    assert leaf.expires == certificate.not_valid_after_utc.timestamp()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("api.example")]
    assert leaf.host == "api.example"
    assert leaf.minted < leaf.renewal < leaf.expires


def test_leaf_says_what_it_is_for():
    extensions = chain(make("api.example").mint("api.example"))[0].extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier)


def test_key_of_a_leaf_is_not_in_its_repr():
    leaf = make("api.example").mint("api.example")
    assert "PRIVATE" in leaf.key_pem.decode()
    assert "PRIVATE" not in repr(leaf)


def test_each_kind_of_name_that_no_service_has_is_excluded():
    found = constraints_of(make("api.example").mint("api.example"))
    assert found.critical
    assert list(found.value.permitted_subtrees) == [x509.DNSName("api.example")]
    assert {str(name.value) for name in found.value.excluded_subtrees} == {"0.0.0.0/0", "::/0"}
    found = constraints_of(make("10.0.0.1").mint("10.0.0.1")).value
    assert [str(name.value) for name in found.permitted_subtrees] == ["10.0.0.1/32"]
    assert list(found.excluded_subtrees) == [x509.DNSName("")]


def test_intermediate_changes_only_with_the_hosts():
    authority = make("api.example")
    first = authority.mint("api.example")
    authority.constrain([pattern("api.example")])
    assert chain(authority.mint("api.example"))[1] == chain(first)[1]
    authority.constrain([pattern("api.example"), pattern("other.example")])
    assert chain(authority.mint("api.example"))[1] != chain(first)[1]


def test_old_intermediate_is_made_anew(monkeypatch):
    monkeypatch.setattr(module, "INTERMEDIATE_LIFE", datetime.timedelta(days=2))
    authority = make("api.example")
    first, second = authority.mint("api.example"), authority.mint("api.example")
    assert chain(first)[1] != chain(second)[1]


def test_no_leaf_without_a_service():
    authority = Authority(make_root())
    for action in (lambda: None, lambda: authority.constrain([])):
        action()
        with pytest.raises(ValueError, match="not a host of any service"):
            authority.mint("api.example")
    assert authority._intermediate is None


def test_pattern_for_every_host_needs_interception_of_all():
    authority = make("api.example")
    with pytest.raises(ValueError, match="name its hosts"):
        authority.constrain([HostPattern("", None, True)])
    assert authority.mint("api.example")  # nothing has changed
    authority.constrain([HostPattern("", None, True)], unconstrained=True)
    assert authority.mint("whatever.example")


def test_wildcard_covers_names_below_it_and_no_address():
    authority = make("*.example")
    assert authority.mint("a.b.example")
    for host in ("example", "badexample", "10.0.0.1", "not a host"):
        with pytest.raises(ValueError):  # noqa: PT011 - both of mint's errors
            authority.mint(host)


def test_fingerprint_is_openssls(tmp_path):
    authority = make()
    certificate = x509.load_pem_x509_certificate(authority.root_pem)
    assert authority.fingerprint.replace(":", "").lower() == certificate.fingerprint(hashes.SHA256()).hex()
