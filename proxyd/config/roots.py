"""The file of ``tls.extra_roots``."""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxyd.core.units import MIB
from proxyd.reading.problems import Mistake

MAX_BYTES: Final = 4 * MIB
"""Twenty times the system's own store."""


def read_roots(path: Path) -> bytes:
    """Return the certificates of a PEM file, and nothing else that it holds; Mistake when it has none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise Mistake(f"the file cannot be read: {reason}", "a readable file of PEM certificates") from None
    if len(data) > MAX_BYTES:
        raise Mistake(f"the file has more than {MAX_BYTES // MIB} MiB", "a file of PEM certificates")
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError:
        certificates = []
    if not certificates:
        raise Mistake("the file holds no certificate, or one that is damaged", "PEM: BEGIN CERTIFICATE …")
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
