"""What a certificate says of itself, for people: bounded, since whoever made it chose every word."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

MAX_TEXT: Final = 256
"""Characters of a name; RFC 5280's own bounds are lower for each part of one."""
MAX_NAMES: Final = 16
"""Alternative names that are shown."""


@dataclass(frozen=True, slots=True)
class Described:
    """A certificate, or a list of revoked ones."""

    fingerprint: str
    """SHA-256 in hexadecimal digits."""
    begins: float
    ends: float
    """Unix times; of a list, when the next one is due. 0: it does not say."""
    subject: str = ""
    issuer: str = ""
    """As RFC 4514 writes names."""
    serial: str = ""
    """Hexadecimal digits."""
    names: tuple[str, ...] = ()
    """Alternative names, the first ``MAX_NAMES``."""


def describe(found: x509.Certificate) -> Described:
    """Describe a certificate. ValueError: it cannot be read."""
    return Described(
        found.fingerprint(hashes.SHA256()).hex(),
        found.not_valid_before_utc.timestamp(),
        found.not_valid_after_utc.timestamp(),
        _text(found.subject),
        _text(found.issuer),
        f"{found.serial_number:x}"[:MAX_TEXT],
        tuple(_names(found)),
    )


def describe_crl(found: x509.CertificateRevocationList) -> Described:
    """Describe a list of revoked certificates. ValueError: it cannot be read."""
    due = found.next_update_utc
    return Described(
        found.fingerprint(hashes.SHA256()).hex(),
        found.last_update_utc.timestamp(),
        due.timestamp() if due is not None else 0.0,
        issuer=_text(found.issuer),
    )


def _text(name: x509.Name) -> str:
    return name.rfc4514_string()[:MAX_TEXT]


def _names(found: x509.Certificate) -> Iterator[str]:
    try:
        value = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return
    for name in list(value)[:MAX_NAMES]:
        if isinstance(name, x509.DNSName | x509.UniformResourceIdentifier | x509.RFC822Name | x509.IPAddress):
            yield str(name.value)[:MAX_TEXT]
