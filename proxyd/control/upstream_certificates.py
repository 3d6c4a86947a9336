"""Certificates that upstreams have shown to workers: for each host the one that was issued last."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proxyd.control.ages import Subject
from proxyd.core.messages import CertificateSeen
from proxyd.core.settings import Ages as Policy

MOST: Final = 1024
"""Hosts that are remembered; the one that was heard of longest ago goes first."""

MAX_HOST: Final = 253
KIND: Final = "upstream"
_FINGERPRINT: Final = 64
_LATEST: Final = 253402300800.0
"""The year 10000: X.509 knows no later one (RFC 5280 §4.1.2.5)."""
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Shown:
    """One host's certificate."""

    fingerprint: str
    begins: float
    ends: float


class UpstreamCertificates:
    """What workers tell, by host."""

    def __init__(self) -> None:
        self._found: dict[str, Shown] = {}

    def __iter__(self) -> Iterator[tuple[str, Shown]]:
        return iter(self._found.items())

    def take(self, message: CertificateSeen) -> None:
        """Take what a worker tells. ValueError: it breaks a rule."""
        if not 0 < len(message.host) <= MAX_HOST or not message.host.isascii() or not message.host.isprintable():
            raise ValueError("CertificateSeen: no host")
        if len(message.fingerprint) != _FINGERPRINT or not _HEX.issuperset(message.fingerprint):
            raise ValueError("CertificateSeen: no fingerprint")
        if not all(math.isfinite(at) and -_LATEST < at < _LATEST for at in (message.begins, message.ends)):
            raise ValueError("CertificateSeen: a time that no certificate has")
        former = self._found.pop(message.host, None)
        shown = Shown(message.fingerprint, message.begins, message.ends)
        # A node that still has the former one is not the news: the vendor has renewed it.
        self._found[message.host] = former if former is not None and former.begins > shown.begins else shown
        if len(self._found) > MOST:
            self._found.pop(next(iter(self._found)))

    def subjects(self, policy: Policy) -> Iterator[Subject]:
        """Return them as what ages."""
        for host, shown in self._found.items():
            yield Subject(KIND, host, shown.fingerprint, policy, shown.begins, shown.ends)
