"""Certificates that upstreams have shown to workers: for each host the one that was issued last."""

import math
from collections.abc import Iterator
from typing import Final

from proxyd.control.material import Known
from proxyd.core.described import MAX_NAMES, MAX_TEXT, Described
from proxyd.core.messages import CertificateSeen

MOST: Final = 1024
"""Hosts that are remembered; the one that was heard of longest ago goes first."""

MAX_HOST: Final = 253
KIND: Final = "upstream"
_FINGERPRINT: Final = 64
_LATEST: Final = 253402300800.0
"""The year 10000: X.509 knows no later one (RFC 5280 §4.1.2.5)."""
_HEX: Final = frozenset("0123456789abcdef")


class UpstreamCertificates:
    """What workers tell, by host."""

    def __init__(self) -> None:
        self._found: dict[str, Described] = {}

    def __iter__(self) -> Iterator[tuple[str, Described]]:
        return iter(self._found.items())

    def take(self, message: CertificateSeen) -> None:
        """Take what a worker tells. ValueError: it breaks a rule."""
        if not 0 < len(message.host) <= MAX_HOST or not message.host.isascii() or not message.host.isprintable():
            raise ValueError("CertificateSeen: no host")
        shown = message.what
        if len(shown.fingerprint) != _FINGERPRINT or not _HEX.issuperset(shown.fingerprint):
            raise ValueError("CertificateSeen: no fingerprint")
        if not all(math.isfinite(at) and -_LATEST < at < _LATEST for at in (shown.begins, shown.ends)):
            raise ValueError("CertificateSeen: a time that no certificate has")
        texts = (shown.subject, shown.issuer, shown.serial, *shown.names)
        if len(shown.names) > MAX_NAMES or any(len(text) > MAX_TEXT for text in texts):
            raise ValueError("CertificateSeen: too many words")
        former = self._found.pop(message.host, None)
        # A node that still has the former one is not the news: the vendor has renewed it.
        self._found[message.host] = former if former is not None and former.begins > shown.begins else shown
        if len(self._found) > MOST:
            self._found.pop(next(iter(self._found)))

    def known(self) -> Iterator[Known]:
        """Return them as certificates among others."""
        for host, shown in self._found.items():
            yield Known(KIND, host, shown)
