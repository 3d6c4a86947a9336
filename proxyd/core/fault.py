"""Faults that are injected on purpose: what happens, to which exchanges, to how many of them, and until when."""

import enum
import string
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from proxyd.core.access import Rule
from proxyd.core.headers import Headers

MAX_FAULTS: Final = 64
"""At a time."""


class FaultKind(enum.Enum):
    """What happens."""

    DELAY = "delay"
    STATUS = "status"
    RATE_LIMIT = "rate_limit"
    EXPIRED = "expired"
    """The credential is refused, as the vendor would say it."""
    RESET = "reset"
    TRUNCATE = "truncate"
    SLOW = "slow"


BODIES: Final = frozenset({FaultKind.TRUNCATE, FaultKind.SLOW})
"""Kinds that concern the body of a response."""


class FaultPlace(enum.Enum):
    """Who is to see it."""

    CLIENT = "client"
    """The application: once per exchange, and no retry, breaker or outlier detection knows of it."""
    UPSTREAM = "upstream"
    """These too: it happens within every attempt, as if the upstream had done it."""


@dataclass(frozen=True, slots=True)
class FaultAnswer:
    """A response in place of the vendor's. Values may hold ``$reset_epoch``, ``$reset_seconds``, ``$reset_date`` (HTTP
    date) and ``$reset_iso``: when the limit is lifted.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    reset: int = 60
    """Seconds until the limit is lifted."""

    def fill(self, now: float) -> tuple[Headers, bytes]:
        """Return headers and body for the Unix time ``now``."""
        at = now + self.reset
        values = {
            "reset_epoch": str(int(at)),
            "reset_seconds": str(self.reset),
            "reset_date": formatdate(at, usegmt=True),
            "reset_iso": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        }
        headers = [(name.encode("ascii"), _fill(value, values).encode("ascii")) for name, value in self.headers]
        return headers, _fill(self.body, values).encode("utf-8")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault."""

    id: str
    kind: FaultKind
    scope: Rule
    """Conditions as in an access rule; exactly one service."""
    expires: float
    """Unix time."""
    place: FaultPlace = FaultPlace.CLIENT
    share: float = 1.0
    """Of the exchanges in scope."""
    seed: int = 0
    """Of the draws: the same seed draws the same."""
    seconds: float = 0.0
    """``delay``: how long."""
    amount: int = 0
    """``truncate``: bytes that are let through; ``slow``: bytes per second."""
    vendor: str = ""
    """Whose words ``answer`` is in; empty: nobody's in particular."""
    answer: FaultAnswer | None = None
    """``status``, ``rate_limit`` and ``expired``: the response."""

    @property
    def service(self) -> str:
        """Name of the service that it concerns."""
        return self.scope.services[0]

    @property
    def what(self) -> str:
        """What happens, in words."""
        match self.kind:
            case FaultKind.DELAY:
                return f"delay {self.seconds:g} s"
            case FaultKind.TRUNCATE:
                return f"body cut after {self.amount} bytes"
            case FaultKind.SLOW:
                return f"body at {self.amount} bytes per second"
            case FaultKind.RESET:
                return "connection reset"
        status = self.answer.status if self.answer is not None else 0
        words = {FaultKind.RATE_LIMIT: "rate limit", FaultKind.EXPIRED: "credential expired"}.get(self.kind, "status")
        return f"{words} {status}" + (f" as {self.vendor} answers" if self.vendor else "")

    @property
    def where(self) -> str:
        """Which exchanges it concerns, in words."""
        scope = self.scope
        parts = [self.service, *scope.methods, *scope.paths]
        parts += [f"uid {uid}" for uid in scope.uids]
        parts += [f"user {user}" for user in scope.users]
        return " ".join([*parts, *scope.cidrs])


def _fill(template: str, values: dict[str, str]) -> str:
    return string.Template(template).safe_substitute(values)
