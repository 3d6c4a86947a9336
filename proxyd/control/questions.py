"""What workers ask of control: leaves, leases and keys of idempotency. All else that they say is a report."""

from typing import Final

from proxyd.control.ages import Ages
from proxyd.control.endings import Endings
from proxyd.control.idempotency import Idempotency
from proxyd.control.leases import Leases
from proxyd.control.leaves import Leaves
from proxyd.control.reports import Reports
from proxyd.control.tokens import Tokens
from proxyd.control.upstream_certificates import UpstreamCertificates
from proxyd.control.workers import WorkerLink
from proxyd.core.messages import (
    Announced,
    CertificateSeen,
    CredentialEnds,
    CredentialRefused,
    KeySettled,
    Message,
    WantKey,
    WantLeaf,
    WantLease,
    WantToken,
)

MAX_WAITING: Final = 8192
"""Messages that a worker may leave untaken while it asks for more."""
HOST_CHARACTERS: Final = 253
CALLER_CHARACTERS: Final = 64


class Questions:
    """Passes each question on to whoever answers it."""

    def __init__(
        self,
        leaves: Leaves,
        lending: Leases,
        keys: Idempotency,
        tokens: Tokens,
        endings: Endings,
        certificates: UpstreamCertificates,
        ages: Ages,
        reports: Reports,
    ) -> None:
        self._leaves = leaves
        self._lending = lending
        self._keys = keys
        self._tokens = tokens
        self._endings = endings
        self._certificates = certificates
        self._ages = ages
        self._reports = reports

    def take(self, link: WorkerLink, message: Message) -> None:
        """Take what a worker says. ValueError: it breaks a rule."""
        if isinstance(message, WantLeaf):
            if len(message.host) > HOST_CHARACTERS or len(message.caller) > CALLER_CHARACTERS:
                raise ValueError("WantLeaf: a host or caller that is too long")
            if link.waiting > MAX_WAITING:
                raise ValueError("it asks without taking answers")
            link.put(self._leaves.answer(message.host, message.caller))
            return
        if isinstance(message, WantLease):
            self._lending.ask(message, str(link.pid), link.put)
            return
        if isinstance(message, WantKey | KeySettled):
            self._keys.take(message, str(link.pid), link.put)
            return
        if isinstance(message, CredentialRefused):
            self._tokens.refused(message)
            return
        if isinstance(message, Announced):
            self._endings.take(message)
            return
        if isinstance(message, CertificateSeen):
            self._certificates.take(message)
            return
        if isinstance(message, CredentialEnds):
            self._ages.told(message)
            return
        if isinstance(message, WantToken):
            self._tokens.want(message)
            return
        self._reports.take(link.index, message)
