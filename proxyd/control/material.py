"""Certificates and lists of revoked ones in PEM: what listeners and services were given, and what is trusted."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from proxyd.core.described import Described
from proxyd.core.settings import Settings
from proxyd.net.described import describe, describe_crl

MOST: Final = 256
"""Certificates of one file that are looked at; the system's own roots are some 150."""

_BLOCK: Final = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----\s.+?\s-----END \1-----", re.DOTALL)
_OWN: Final = {"listener": "server", "service": "client"}
"""What the certificate is that a listener, or a service, was given."""


@dataclass(frozen=True, slots=True)
class Known:
    """One certificate, and where it is used."""

    kind: str
    """``root`` and ``intermediate`` of the local CA, ``leaf``, ``upstream``, ``server``, ``client``, ``chain``,
    ``trusted``, ``crl``, ``secret``."""
    name: str
    """Kind and name are one certificate's alone, at a time."""
    what: Described


def known(name: str, value: bytes) -> Iterator[Known]:
    """Return what the material ``name`` holds; what cannot be read is whose business it is that uses it."""
    where, _, part = name.rpartition("/")
    owner, _, _ = name.partition("/")
    is_own = part in ("certificate", "key")
    kind = "chain" if is_own else "trusted"
    taken = set()
    for is_crl, what in _described(value):
        if is_own and not is_crl:
            yield Known(_OWN.get(owner, "certificate"), where, what)
            is_own = False
            continue
        shown = f"{name}: {what.issuer if is_crl else what.subject}"
        if (is_crl, shown) in taken:  # such as a root that was made anew with another key
            shown += f" ({what.fingerprint[:16]})"
        taken.add((is_crl, shown))
        yield Known("crl" if is_crl else kind, shown, what)


def first(kind: str, name: str, value: bytes) -> Iterator[Known]:
    """Return the first certificate of a value."""
    for is_crl, what in _described(value):
        if not is_crl:
            yield Known(kind, name, what)
            return


def of_settings(settings: Settings) -> Iterator[Known]:
    """Return the roots that the configuration itself holds."""
    yield from known("tls.extra_roots", settings.extra_roots_pem)
    for vault in settings.vaults:
        yield from known(f"vaults.{vault.name}.roots", vault.roots_pem.encode("ascii"))


def _described(value: bytes) -> Iterator[tuple[bool, Described]]:
    """Return the certificates of a PEM text, and the lists (True), in order, once each."""
    seen = set()
    for block in islice(_BLOCK.finditer(value), MOST):
        try:
            is_crl = block[1] != b"CERTIFICATE"
            what = (
                describe_crl(x509.load_pem_x509_crl(block[0]))
                if is_crl
                else describe(x509.load_pem_x509_certificate(block[0]))
            )
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
            continue
        if what.fingerprint not in seen:
            seen.add(what.fingerprint)
            yield is_crl, what
