"""Idempotency keys of clients, kept for services that know none (draft-ietf-httpapi-idempotency-key-header)."""

import enum
from dataclasses import dataclass
from typing import Final

from proxyd.core.units import DAY, KIB

HASH_BYTES: Final = 32
CLAIM_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class IdempotencyPolicy:
    """How a service's POST and PATCH requests are kept from being done twice."""

    field: str = "idempotency-key"
    """Request field that holds the client's key, lower case."""
    window: float = 1 * DAY
    """Seconds that a key is remembered."""
    request_bytes: int = 64 * KIB
    """The largest request body that goes with a key: it is held in memory, to be compared."""
    object_bytes: int = 192 * KIB
    """The largest answer body that is kept."""
    is_open: bool = False
    """While the store is away requests with a key go on without protection; else they are refused."""


class KeyState(enum.Enum):
    """What becomes of a request with a key."""

    YOURS = "yours"
    """Nobody has used the key: send the request."""
    RUNNING = "running"
    """A request with the key is under way."""
    DIFFERS = "differs"
    """The key was used for another request."""
    ANSWERED = "answered"
    """There is an answer."""
    DONE = "done"
    """It was answered, and the answer was not kept."""
    UNKNOWN = "unknown"
    """It may have been done; nobody knows."""
    LOST = "lost"
    """The store cannot be reached."""
    SETTLED = "settled"
    """An outcome was taken in."""


class Outcome(enum.Enum):
    """What a worker says of a request with a key."""

    ANSWERED = "answered"
    DONE = "done"
    UNKNOWN = "unknown"
    FREE = "free"
    """The vendor never got it: the key is as good as new."""
