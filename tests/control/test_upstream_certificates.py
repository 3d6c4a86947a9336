import pytest

from proxyd.control.upstream_certificates import MOST, UpstreamCertificates
from proxyd.core.described import Described
from proxyd.core.messages import CertificateSeen

NOW = 1_800_000_000.0
FIRST, SECOND = "0f" * 32, "a1" * 32


def seen(host="api.example", fingerprint=FIRST, begins=NOW, ends=NOW + 100.0):
    return CertificateSeen(host, Described(fingerprint, begins, ends))


@pytest.fixture
def certificates():
    return UpstreamCertificates()


def test_of_a_host_the_one_counts_that_was_issued_last(certificates):
    certificates.take(seen(begins=NOW, ends=NOW + 100))
    certificates.take(seen(fingerprint=SECOND, begins=NOW + 50, ends=NOW + 150))
    certificates.take(seen(begins=NOW, ends=NOW + 100))  # a node that was not renewed yet
    assert [(host, shown.fingerprint) for host, shown in certificates] == [("api.example", SECOND)]
    [known] = certificates.known()
    assert (known.kind, known.name, known.what.fingerprint) == ("upstream", "api.example", SECOND)
    assert (known.what.begins, known.what.ends) == (NOW + 50, NOW + 150)


def test_hosts_are_bounded_and_the_oldest_goes(certificates):
    for number in range(MOST):
        certificates.take(seen(f"h{number}.example"))
    certificates.take(seen("h0.example"))
    certificates.take(seen("new.example"))
    hosts = [host for host, _ in certificates]
    assert len(hosts) == MOST
    assert "h0.example" in hosts
    assert "h1.example" not in hosts


@pytest.mark.parametrize(
    "message",
    [
        seen(host=""),
        seen(host="x" * 254),
        seen(host="a\nb"),
        seen(fingerprint="0f"),
        seen(fingerprint="zz" * 32),
        seen(begins=float("nan")),
        seen(ends=1e300),
        CertificateSeen("a", Described(FIRST, NOW, NOW, subject="x" * 257)),
        CertificateSeen("a", Described(FIRST, NOW, NOW, names=("a.example",) * 17)),
    ],
    ids=["no host", "long host", "line break", "short", "no digits", "no number", "no year", "long name", "many names"],
)
def test_a_worker_that_says_nonsense_breaks_a_rule(certificates, message):
    with pytest.raises(ValueError, match="CertificateSeen"):
        certificates.take(message)
