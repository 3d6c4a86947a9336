"""A vendor's own limits, kept to by what its answers say: a service's policy, and what its vendor is known for."""

import enum
from dataclasses import dataclass, field
from typing import Final

ACCOUNT_LIMIT: Final = "vendor"
"""Stands for the name of a limit where the vendor's own are meant: in answers, views and messages."""


class AtLimit(enum.Enum):
    """What happens to requests that the vendor would refuse."""

    QUEUE = "queue"
    """They wait, callers in turn, up to ``max_wait``."""
    REJECT = "reject"
    """429 at once."""


@dataclass(frozen=True, slots=True)
class VendorDefinition:
    """How a vendor says that a limit is reached, where 429 and the usual fields are not all of it."""

    vendor: str = ""
    statuses: tuple[int, ...] = ()
    """Statuses besides 429 whose body may say so."""
    codes: tuple[str, ...] = ()
    """Texts in such a body, any of which says so."""
    pause: float = 0.0
    """Seconds to leave the vendor alone where it says that a limit is reached, and not for how long; 0: a second, and
    twice as long each time."""


@dataclass(frozen=True, slots=True)
class VendorLimits:
    """A service's policy."""

    reserve: float = 0.0
    """Share of each window that is left to class ``high``; class ``low`` leaves twice as much."""
    mode: AtLimit = AtLimit.QUEUE
    max_wait: float = 30.0
    max_waiting: int = 1024
    definition: VendorDefinition = field(default_factory=VendorDefinition)
