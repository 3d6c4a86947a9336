"""The local root: its key and certificate, made once and kept in the vault.

Key and certificate are one value, so that there is never one without the other. Earlier versions kept it in a file of
the state folder: that is taken into the vault and removed once it is there, so that a process that is killed in between
finds it in one place or in both. Of two processes that start at once one makes the root and both use it.
"""

import datetime
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT_FILE: Final = "ca-root.key"
"""Where earlier versions kept the private key (PKCS#8 PEM) and the root certificate, mode 0600."""

ROOT_LIFE: Final = datetime.timedelta(days=3652)
CLOCK_SKEW: Final = datetime.timedelta(hours=1)
"""Certificates begin this much in the past, for clients whose clock is slow."""

_MAX_FILE: Final = 64 * 1024


class AuthorityError(Exception):
    """The local CA cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Root:
    """The root's key and certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def __repr__(self) -> str:
        return f"<Root serial {self.certificate.serial_number:x}>"


class Keep(Protocol):
    """What holds the root: one value, which outlives the process."""

    @property
    def title(self) -> str:
        """Where it is, for messages."""
        ...

    def load(self) -> bytes | None:
        """Return the value."""
        ...

    def store(self, data: bytes) -> bytes:
        """Hold ``data`` from now on, unless there is a value already; return what counts."""
        ...


def open_root(state_dir: Path, keep: Keep) -> Root:
    """Load the root from ``keep``, or make it where there is none. AuthorityError says what is wrong with it.

    What an earlier version left in ``state_dir`` is taken in first.
    """
    data = keep.load()
    path = state_dir / ROOT_FILE
    try:
        if path.exists() or path.is_symlink():
            data = _take_in(path, data, keep)
    except OSError as error:
        raise AuthorityError(f"the local CA cannot be taken from {path}: {error.strerror}") from error
    if data is None:
        data = keep.store(_encode(make_root()))
    return _parse(data, keep.title, "take it out with 'proxyd ca renew'")


def make_root() -> Root:
    """Return a new self-signed P-256 root that may sign intermediates of one level."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The number tells roots of several machines and installations apart in a trust store.
    subject = name("proxyd", f"proxyd local CA {secrets.token_hex(4)}")
    builder = certificate(subject, subject, key.public_key(), ROOT_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    builder = builder.add_extension(ca_usage(), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Root(key, builder.sign(key, hashes.SHA256()))


def certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    """Begin a certificate that is valid from an hour ago and for ``life`` in all, both ends included."""
    begin = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - CLOCK_SKEW
    end = begin + life - datetime.timedelta(seconds=1)  # RFC 5280 §4.1.2.5: notAfter is the last valid second
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def name(organisation: str, common: str = "") -> x509.Name:
    """Return a distinguished name."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)]
    if common:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common))
    return x509.Name(attributes)


def ca_usage() -> x509.KeyUsage:
    """Return the key usage of a CA: certificates and revocation lists."""
    return key_usage(key_cert_sign=True, crl_sign=True)


def key_usage(**allowed: bool) -> x509.KeyUsage:
    """Return a key usage that allows what is named and nothing else."""
    usages = dict.fromkeys(
        (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    return x509.KeyUsage(**(usages | allowed))


def _encode(root: Root) -> bytes:
    key = root.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key + root.certificate.public_bytes(serialization.Encoding.PEM)


def sync_folder(folder: Path) -> None:
    """Make a rename or link within ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_in(path: Path, held: bytes | None, keep: Keep) -> bytes:
    """Move the file's root into ``keep`` and return it."""
    data = _read(path)
    _parse(data, str(path), "remove it")
    counts = held if held is not None else keep.store(data)
    if counts != data:
        raise AuthorityError(
            f"{path} holds another local CA than {keep.title}; remove the file to go on with the one that is there, or "
            "take that one out with 'proxyd ca renew'"
        )
    path.unlink()
    sync_folder(path.parent)
    return counts


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise AuthorityError(f"{path} is not a regular file; move it away and start proxyd again")
        if info.st_mode & 0o077:
            raise AuthorityError(
                f"{path} is open to others (mode {stat.S_IMODE(info.st_mode):04o}): its key may be known to them; "
                "remove it, uninstall the old CA from your trust stores and start proxyd again for a new one"
            )
        return file.read(_MAX_FILE)


def _parse(data: bytes, where: str, remedy: str) -> Root:
    try:
        key = serialization.load_pem_private_key(data, None)
        root_certificate = x509.load_pem_x509_certificate(data)
    except (ValueError, TypeError):  # the parser's words may quote the file
        raise AuthorityError(
            f"{where} does not hold a private key and a certificate; {remedy} and start again"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root_certificate.public_key():
        raise AuthorityError(
            f"the CA's key and certificate in {where} do not belong together; {remedy} and start again"
        )
    if root_certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
        raise AuthorityError(
            f"the local CA in {where} expired on {root_certificate.not_valid_after_utc:%Y-%m-%d}; {remedy}, start "
            "proxyd again and install the new CA (proxyd ca install)"
        )
    return Root(key, root_certificate)
