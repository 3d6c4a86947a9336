"""Certificates that upstreams show: told to control once per host and certificate, after they were verified."""

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import hashes

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
        key = host, shown.fingerprint(hashes.SHA256())
        if key in self._told:
            return
        try:
            what = describe(shown)
        except ValueError:
            return  # not even its times can be read, and OpenSSL has judged them
        if self._tell(CertificateSeen(host, what)):
            if len(self._told) >= MOST:
                self._told.pop(next(iter(self._told)))
            self._told[key] = None

    def forget(self) -> None:
        """Another control has come, who knows none of them."""
        self._told.clear()
