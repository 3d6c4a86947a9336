"""Limits on a service's requests, as the configuration says them."""

import enum
from dataclasses import dataclass
from typing import Final

CALLER: Final = "caller"
SERVICE: Final = "service"
ROUTE: Final = "route"
CIDR: Final = "cidr"
HEADER: Final = "header:"
"""What a scope begins with that is the value of a request's field."""


class Mode(enum.Enum):
    """What happens to a request beyond the limit."""

    REJECT = "reject"
    """429 at once."""
    QUEUE = "queue"
    """It waits its turn, callers in turn, up to ``max_wait``."""
    PACE = "pace"
    """As ``queue``, and one after the other at the limit's rate even where a burst would be allowed."""


class OnLoss(enum.Enum):
    """What happens while the shared state cannot be reached."""

    OPEN = "open"
    CLOSED = "closed"
    LOCAL = "local"
    """Each member keeps to the limit divided by the members last known."""


class Period(enum.Enum):
    """What a quota is for."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request that fits costs; the first that fits counts, without any it is 1."""

    methods: tuple[str, ...] = ()
    path: str = ""
    """Prefix of the upstream's path."""
    tokens: int = 1
    per_bytes: int = 0
    """One more for each so many bytes of a request body whose length is told."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: a rate, a window, a quota, or how many at a time."""

    name: str
    scope: tuple[str, ...] = (SERVICE,)
    rate: float = 0.0
    """Tokens a second."""
    burst: int = 1
    window: int = 0
    """Tokens within any ``window_seconds``."""
    window_seconds: float = 0.0
    quota: int = 0
    period: Period = Period.MONTH
    begins: int = 1
    """Day of the month on which a month of the vendor's begins."""
    time_zone: str = "UTC"
    warn: tuple[float, ...] = ()
    """Shares of a quota at which an event says so."""
    is_soft: bool = False
    """A quota that is over is told and not enforced."""
    concurrency: int = 0
    mode: Mode = Mode.REJECT
    max_wait: float = 30.0
    max_waiting: int = 1024
    costs: tuple[Cost, ...] = ()
    on_loss: OnLoss = OnLoss.LOCAL

    @property
    def names_caller(self) -> bool:
        """Whether it is about who asks: it is taken before the cache then, else with every attempt."""
        return any(part in (CALLER, CIDR) or part.startswith(HEADER) for part in self.scope)
