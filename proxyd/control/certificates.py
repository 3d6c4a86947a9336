"""The local CA and its leaves, for the admin side: names and ends, never a key."""

import time
from collections.abc import Iterator
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proxyd.certs.authority import Authority
from proxyd.control.ages import Subject
from proxyd.control.leaves import Leaves
from proxyd.core.settings import Ages as Policy

MAX_ROWS: Final = 1000
"""Leaves described, those that end first."""


def subjects(authority: Authority, policy: Policy) -> Iterator[Subject]:
    """Return the local CA's certificates that age; the intermediate and leaves are made anew in time."""
    for kind, certificate in authority.certificates:
        if kind == "root":
            begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
            yield Subject(kind, certificate.subject.rfc4514_string(), certificate.serial_number, policy, begins, ends)


def certificates(authority: Authority, leaves: Leaves) -> list[dict[str, Any]]:
    """Return one row per certificate: the root, the intermediate, and the leaves that are kept."""
    now = time.time()
    rows = [_row(kind, certificate.subject, certificate, now) for kind, certificate in authority.certificates]
    kept = sorted(leaves.kept(), key=lambda leaf: leaf.expires)[:MAX_ROWS]
    rows += [_row("leaf", leaf.host, x509.load_pem_x509_certificate(leaf.chain_pem), now) for leaf in kept]
    return rows


def _row(kind: str, name: str | x509.Name, certificate: x509.Certificate, now: float) -> dict[str, Any]:
    ends = certificate.not_valid_after_utc
    return {
        "kind": kind,
        "name": name if isinstance(name, str) else name.rfc4514_string(),
        "ends": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "left_seconds": round(ends.timestamp() - now),
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    }
