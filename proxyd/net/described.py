"""Certificates described for people: bounded, since whoever made one chose every word of it."""

from collections.abc import Callable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proxyd.core.described import MAX_NAMES, MAX_TEXT, Described


def describe(found: x509.Certificate) -> Described:
    """Describe a certificate, by what of it can be read. ValueError: not even its times."""
    return Described(
        found.fingerprint(hashes.SHA256()).hex(),
        found.not_valid_before_utc.timestamp(),
        found.not_valid_after_utc.timestamp(),
        _text(lambda: found.subject),
        _text(lambda: found.issuer),
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
        issuer=_text(lambda: found.issuer),
    )


def _text(read: Callable[[], x509.Name]) -> str:
    try:
        return read().rfc4514_string()[:MAX_TEXT]
    except ValueError:
        return ""


def _names(found: x509.Certificate) -> Iterator[str]:
    try:
        value = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return
    for name in list(value)[:MAX_NAMES]:
        if isinstance(name, x509.DNSName | x509.UniformResourceIdentifier | x509.RFC822Name | x509.IPAddress):
            yield str(name.value)[:MAX_TEXT]
