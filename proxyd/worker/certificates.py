"""Certificates that upstreams show: told to control once per host and certificate, after they were verified."""

import contextlib
from collections.abc import Callable
from typing import Final

from proxyd.core.messages import CertificateSeen
from proxyd.net.described import describe
from proxyd.net.tls import TlsStream, shown_certificate

MOST: Final = 1024
"""Certificates that a worker remembers; when there are more, the oldest may be told again."""

Tell = Callable[[CertificateSeen], bool]
"""Says it to control; False: there was no room, and it is said again at the next handshake."""


class Certificates:
    """Remembers what was told."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: dict[tuple[str, bytes], None] = {}

    def saw(self, host: str, stream: TlsStream) -> None:
        """Look at the certificate of a verified connection."""
        shown = shown_certificate(stream)
        if shown is None:
            return
        key = host, shown.fingerprint
        if key in self._told:
            return
        message = CertificateSeen(host, shown.fingerprint.hex(), shown.begins, shown.ends)
        if shown.certificate is not None:
            with contextlib.suppress(ValueError):  # a name that cannot be read; what counts is told
                what = describe(shown.certificate)
                words = what.subject, what.issuer, what.serial, what.names
                message = CertificateSeen(host, what.fingerprint, what.begins, what.ends, *words)
        if self._tell(message):
            if len(self._told) >= MOST:
                self._told.pop(next(iter(self._told)))
            self._told[key] = None

    def forget(self) -> None:
        """Another control has come, who knows none of them."""
        self._told.clear()
