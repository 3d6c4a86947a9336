"""The local CA at work: a root that is kept, an intermediate for the current hosts, leaves of one host and one day.

The intermediate's key lives in memory only. Its name constraints limit what a stolen worker or a mistake here could
impersonate; the root signs nothing else.
"""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxyd.certs.constraints import Constraints
from proxyd.certs.root import Keep, Root, ca_usage, certificate, key_usage, name, open_root
from proxyd.core.authority import normalise_host
from proxyd.core.service import HostPattern

LEAF_LIFE: Final = datetime.timedelta(hours=24)
"""In all, the hour before now included."""
INTERMEDIATE_LIFE: Final = datetime.timedelta(days=7)
INTERMEDIATE_RENEWAL: Final = datetime.timedelta(days=3)
"""With less than this to live, the next leaf brings a new intermediate; leaves never outlive theirs."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf for one host."""

    host: str
    chain_pem: bytes
    """The leaf and its intermediate."""
    key_pem: bytes = field(repr=False)
    """PKCS#8."""
    expires: float
    """Unix time."""
    minted: float
    """Unix time."""

    @property
    def renewal(self) -> float:
        """Unix time at two thirds of its life, when a new one is due."""
        return self.minted + (self.expires - self.minted) * 2 / 3


@dataclass(frozen=True, slots=True, repr=False)
class _Intermediate:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    pem: bytes


class Authority:
    """Mints leaves for the hosts that ``constrain`` named last; before the first call, for none."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._constraints = Constraints()
        self._intermediate: _Intermediate | None = None

    def __repr__(self) -> str:
        return f"<Authority {self.fingerprint[:23]}… {self._constraints}>"

    @classmethod
    def open(cls, state_dir: Path, keep: Keep) -> "Authority":
        """Load the root from ``keep``, or make it. AuthorityError says what is wrong with it."""
        return cls(open_root(state_dir, keep))

    @property
    def root_pem(self) -> bytes:
        """The root certificate, which clients must trust."""
        return self._root.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root certificate, as ``openssl x509 -fingerprint`` prints it."""
        return self._root.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def certificates(self) -> list[tuple[str, x509.Certificate]]:
        """What it signs with now, as (kind, certificate): the root, and the intermediate once there is one."""
        found = [("root", self._root.certificate)]
        if self._intermediate is not None:
            found.append(("intermediate", self._intermediate.certificate))
        return found

    @property
    def expires(self) -> float:
        """Unix time at which the root ends."""
        return self._root.certificate.not_valid_after_utc.timestamp()

    @property
    def constraints(self) -> Constraints:
        """The hosts that leaves may be minted for."""
        return self._constraints

    def constrain(self, hosts: Iterable[HostPattern], unconstrained: bool = False) -> None:
        """Set the hosts that leaves may name; a changed set brings a new intermediate, no host brings none.

        ValueError: a pattern covers every host although ``unconstrained`` is not asked for.
        """
        constraints = Constraints.of(hosts, unconstrained)
        if constraints != self._constraints:
            self._constraints = constraints
            self._intermediate = None

    def mint(self, host: str) -> Leaf:
        """Return a new key and certificate for ``host``. ValueError: not a host, or outside of the constraints."""
        host, is_ip = normalise_host(host)
        if not self._constraints.allow(host):
            raise ValueError(f"{host} is not a host of any service")
        return self._mint(host, is_ip)

    def _mint(self, host: str, is_ip: bool) -> Leaf:
        issuer = self._current_intermediate()
        key = ec.generate_private_key(ec.SECP256R1())
        # No common name: verifiers that fall back to it (GnuTLS) would hold it against the name constraints.
        builder = certificate(name("proxyd interception"), issuer.certificate.subject, key.public_key(), LEAF_LIFE)
        san = x509.IPAddress(ipaddress.ip_address(host)) if is_ip else x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([san]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(key_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = _identify(builder, key, issuer.certificate)
        signed = builder.sign(issuer.key, hashes.SHA256())
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Leaf(
            host,
            signed.public_bytes(serialization.Encoding.PEM) + issuer.pem,
            key_pem,
            signed.not_valid_after_utc.timestamp(),
            datetime.datetime.now(datetime.UTC).timestamp(),
        )

    def _current_intermediate(self) -> _Intermediate:
        current = self._intermediate
        now = datetime.datetime.now(datetime.UTC)
        if current is None or current.certificate.not_valid_after_utc - now < INTERMEDIATE_RENEWAL:
            current = self._intermediate = self._make_intermediate()
        return current

    def _make_intermediate(self) -> _Intermediate:
        key = ec.generate_private_key(ec.SECP256R1())
        root = self._root.certificate
        builder = certificate(
            name("proxyd", "proxyd interception CA"), root.subject, key.public_key(), INTERMEDIATE_LIFE
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(ca_usage(), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        constraints = self._constraints.extension()
        if constraints is not None:
            builder = builder.add_extension(constraints, critical=True)
        builder = _identify(builder, key, root)
        signed = builder.sign(self._root.key, hashes.SHA256())
        return _Intermediate(key, signed, signed.public_bytes(serialization.Encoding.PEM))


def _identify(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate
) -> x509.CertificateBuilder:
    """Add both key identifiers (RFC 5280 §4.2.1.1, §4.2.1.2), which strict verifiers demand."""
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuers = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(own, critical=False)
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuers), critical=False
    )
