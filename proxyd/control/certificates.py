"""The local CA and its leaves, for the admin side: names and ends, never a key."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proxyd.certs.authority import Authority
from proxyd.control.ages import Subject
from proxyd.control.leaves import Leaves
from proxyd.control.upstream_certificates import KIND, UpstreamCertificates
from proxyd.core.settings import Ages as Policy

MAX_ROWS: Final = 1000
"""Leaves described, those that end first."""


def subjects(authority: Authority, policy: Policy) -> Iterator[Subject]:
    """Return the local CA's certificates that age; the intermediate and leaves are made anew in time."""
    for kind, certificate in authority.certificates:
        if kind == "root":
            begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
            yield Subject(kind, certificate.subject.rfc4514_string(), certificate.serial_number, policy, begins, ends)


def certificates(authority: Authority, leaves: Leaves, upstreams: UpstreamCertificates) -> list[dict[str, Any]]:
    """Return one row per certificate: the root, the intermediate, the leaves that are kept, and those of upstreams."""
    now = time.time()
    rows = [_row(kind, certificate.subject, certificate, now) for kind, certificate in authority.certificates]
    kept = sorted(leaves.kept(), key=lambda leaf: leaf.expires)[:MAX_ROWS]
    rows += [_row("leaf", leaf.host, x509.load_pem_x509_certificate(leaf.chain_pem), now) for leaf in kept]
    shown = sorted(upstreams, key=lambda item: item[1].ends)[:MAX_ROWS]
    return rows + [_plain(KIND, host, one.ends, bytes.fromhex(one.fingerprint), now) for host, one in shown]


def _row(kind: str, name: str | x509.Name, certificate: x509.Certificate, now: float) -> dict[str, Any]:
    ends = certificate.not_valid_after_utc.timestamp()
    words = name if isinstance(name, str) else name.rfc4514_string()
    return _plain(kind, words, ends, certificate.fingerprint(hashes.SHA256()), now)


def _plain(kind: str, name: str, ends: float, fingerprint: bytes, now: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "ends": datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "left_seconds": round(ends - now),
        "fingerprint": fingerprint.hex(":").upper(),
    }
