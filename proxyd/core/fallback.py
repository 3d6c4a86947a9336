"""What answers in a service's place when its attempts are exhausted."""

from dataclasses import dataclass
from typing import Final

from proxyd.core.resilience import CONNECT, RESET, TIMEOUT
from proxyd.core.units import KIB

OPEN: Final = "open"
"""Refused before anything was sent: a breaker that is open, a threshold that is reached, no endpoint that is known."""
DEFAULT_ON: Final = (CONNECT, RESET, TIMEOUT, OPEN, "502", "503", "504")

MAX_BODY: Final = 64 * KIB
"""Bytes of a static response's body: it stands in every worker's snapshot."""
STATIC: Final = "(response)"
STALE: Final = "(stale)"
"""What the access log calls a static response, and a stale one of the cache; no service has such a name."""


@dataclass(frozen=True, slots=True)
class StaticResponse:
    """A response that is written down."""

    status: int = 503
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FallbackStep:
    """One thing to fall back on: exactly one of ``service``, ``response`` and ``stale``."""

    service: str = ""
    """Another service's name."""
    response: StaticResponse | None = None
    stale: bool = False
    """What the service's cache has, as far as its rules let that stand in for a failure (RFC 5861 §4)."""
    on: tuple[str, ...] = DEFAULT_ON
    """Failures of the service that it is for: ``connect``, ``reset``, ``timeout``, ``open``, or statuses."""

    @property
    def name(self) -> str:
        """What the access log and metrics call it."""
        return self.service or (STALE if self.stale else STATIC)
