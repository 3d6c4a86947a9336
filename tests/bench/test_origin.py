import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from bench.certificates import make_identity
from bench.origin import bulk_config, exchanges_config, message


def test_the_origin_refuses_what_lacks_the_credential(tmp_path, target):
    text = exchanges_config(tmp_path, target)
    assert "default 0;" in text
    assert '"the-key/" 1;' in text
    assert '"/Bearer the-token" 1;' in text
    assert "return 401;" in text


def test_the_gigabyte_needs_no_credential(tmp_path, target):
    assert "401" not in bulk_config(tmp_path, target)


@pytest.mark.parametrize("config", [exchanges_config, bulk_config])
def test_braces_are_balanced(config, tmp_path, target):
    text = config(tmp_path, target)
    assert text.count("{") == text.count("}")


def test_the_certificate_verifies_for_the_service(tmp_path):
    identity = make_identity(tmp_path, ["api.tickets.example", "127.0.0.1"])
    root = x509.load_pem_x509_certificate(identity.root.read_bytes())
    leaf = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName("api.tickets.example"))
    assert verifier.verify(leaf, [])[-1] == root
    assert identity.key.stat().st_mode & 0o077 == 0


def test_the_call_is_answered_by_a_message_with_trailers(tmp_path, target):
    text = exchanges_config(tmp_path, target)
    assert "listen 127.0.0.1:9200 http2" in text
    assert "add_trailer grpc-status 0;" in text
    assert message()[:5] == b"\0\0\0\0\x80"
    assert len(message()) == 5 + 128
