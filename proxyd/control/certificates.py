"""Every certificate in play, for the admin side and for those who follow ends: names and times, never a key."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from cryptography import x509

from proxyd.certs.authority import Authority
from proxyd.control import material
from proxyd.control.ages import MATERIAL, SECRET, SOON, Ages, Subject
from proxyd.control.leaves import Leaves
from proxyd.control.material import Known
from proxyd.control.upstream_certificates import UpstreamCertificates
from proxyd.core.settings import Ages as Policy
from proxyd.core.settings import Settings
from proxyd.core.units import DAY
from proxyd.net.described import describe
from proxyd.vault.secrets import Secrets
from proxyd.vault.state import SecretState

MAX_ROWS: Final = 1000
"""Of the leaves, and of the certificates of upstreams: those that end first."""
RENEWED: Final = ("leaf", "intermediate")
"""Kinds that the local CA makes anew in time."""


class Source(Protocol):
    """Where certificates are: the controller."""

    settings: Settings | None
    """The configuration in use."""
    leaves: Leaves
    secrets: Secrets
    upstream_certificates: UpstreamCertificates
    ages: Ages


def subjects(source: Source, authority: Authority, policy: Policy) -> Iterator[Subject]:
    """Return the certificates that age, secrets apart; what the local CA makes anew in time does not."""
    for one in (*_of_authority(authority), *_given(source), *source.upstream_certificates.known()):
        if one.kind not in (*RENEWED, SECRET) and one.what.ends:
            yield Subject(one.kind, one.name, one.what.fingerprint, policy, one.what.begins, one.what.ends)


def _of_authority(authority: Authority) -> Iterator[Known]:
    for kind, certificate in authority.certificates:
        yield Known(kind, certificate.subject.rfc4514_string(), describe(certificate))


def _given(source: Source) -> Iterator[Known]:
    """Return what the configuration and its secrets hold."""
    if source.settings is not None:
        yield from material.of_settings(source.settings)
    for state in source.secrets:
        yield from of_secret(state)


def _minted(leaves: Leaves) -> Iterator[Known]:
    for leaf in sorted(leaves.kept(), key=lambda leaf: leaf.expires)[:MAX_ROWS]:
        yield Known("leaf", leaf.host, describe(x509.load_pem_x509_certificate(leaf.chain_pem)))


def of_secret(state: SecretState) -> Iterator[Known]:
    """Return the certificates that a secret holds: material of listeners and services, or one that a flow uses."""
    name, value = state.source.name, state.value
    if value is None or b"-----BEGIN " not in value:
        return
    if name.startswith(MATERIAL):
        yield from material.known(name.removeprefix(MATERIAL), value)
    else:
        yield from material.first(SECRET, name, value)


def certificates(source: Source, authority: Authority) -> list[dict[str, Any]]:
    """Return one row per certificate, the one that ends first on top."""
    now = time.time()
    upstreams = sorted(source.upstream_certificates.known(), key=lambda one: one.what.ends)[:MAX_ROWS]
    found = (*_of_authority(authority), *_minted(source.leaves), *_given(source), *upstreams)
    rows = [_row(one, source.ages, now) for one in found]
    return sorted(rows, key=lambda row: (row["days_left"] is None, row["days_left"] or 0.0, row["kind"], row["name"]))


def _row(one: Known, ages: Ages, now: float) -> dict[str, Any]:
    what = one.what
    return {
        "status": _status(one, ages, now),
        "days_left": round((what.ends - now) / DAY, 2) if what.ends else None,
        "kind": one.kind,
        "name": one.name,
        "subject": what.subject,
        "names": list(what.names),
        "issuer": what.issuer,
        "serial": what.serial,
        "fingerprint": bytes.fromhex(what.fingerprint).hex(":").upper(),
        "not_before": _moment(what.begins),
        "not_after": _moment(what.ends),
    }


def _status(one: Known, ages: Ages, now: float) -> str:
    if one.what.begins > now:
        return "not yet valid"
    if one.what.ends and one.what.ends <= now:
        return "expired"
    return "expiring" if ages.state(one.kind, one.name) == SOON else "ok"


def _moment(at: float) -> str | None:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
