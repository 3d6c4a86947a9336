"""What the store holds of one idempotency key, and how it changes: pure functions for ``protocol.update``.

A claim is written before its request is sent, and only the worker that wrote it says what came of it. Whatever is
killed in between leaves a claim behind that nobody settles: its outcome is unknown for as long as the key is
remembered, and no request with the key is sent again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgpack

from proxyd.core.headers import Headers
from proxyd.core.idempotency import KeyState, Outcome
from proxyd.core.units import HOUR
from proxyd.store.protocol import MAX_VALUE, Change

SPARE_SECONDS: Final = 1 * HOUR
"""A claim that is not settled outlives its window by this much: its request may still be under way."""

_RUNNING: Final = "running"
_STATES: Final = (_RUNNING, Outcome.ANSWERED.value, Outcome.DONE.value, Outcome.UNKNOWN.value)


class Claimant(NamedTuple):
    """Who asks for a key, and for which request."""

    claim: bytes
    """Random; proves that an outcome comes from whoever was told to send the request."""
    owner: str
    """The member and the worker."""
    fingerprint: bytes
    seconds: float
    """How long the request may be under way."""


@dataclass(slots=True)
class Record:
    """The state of one key."""

    state: str
    """``running``, or a value of Outcome."""
    claim: bytes
    owner: str
    fingerprint: bytes
    began: float
    until: float
    """When it is over at the latest, by the store's clock."""
    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def encode(self) -> bytes:
        """Return the value that stands in the store."""
        packed: bytes = msgpack.packb([getattr(self, name) for name in self.__slots__])
        return packed


def decode(value: bytes) -> Record | None:
    """Read a value; None for one that makes no sense."""
    try:
        parts: Any = msgpack.unpackb(value, max_ext_len=0)
        state, claim, owner, fingerprint, began, until, status, headers, body = parts
        if state not in _STATES:
            return None
        pairs = [(bytes(name), bytes(text)) for name, text in headers]
        return Record(state, claim, owner, fingerprint, float(began), float(until), int(status), pairs, bytes(body))
    except (ValueError, TypeError, msgpack.UnpackException):
        return None


def ask(
    value: bytes, now: float, who: Claimant, window: float, is_alive: Callable[[str], bool]
) -> tuple[Change, tuple[KeyState, Record | None]]:
    """Take the key where it is free; say what is known of it where it is not."""
    if not value:
        record = Record(_RUNNING, who.claim, who.owner, who.fingerprint, now, now + who.seconds)
        return Change(record.encode(), window + SPARE_SECONDS), (KeyState.YOURS, None)
    same = Change(None, None)
    known = decode(value)
    if known is None:
        return same, (KeyState.UNKNOWN, None)
    if known.state == _RUNNING and known.claim == who.claim:
        return same, (KeyState.YOURS, None)  # it asks again: the answer was lost with a control process
    if known.fingerprint != who.fingerprint:
        return same, (KeyState.DIFFERS, None)
    if known.state == _RUNNING:
        runs = now < known.until and is_alive(known.owner)
        return same, (KeyState.RUNNING if runs else KeyState.UNKNOWN, None)
    return same, (KeyState(known.state), known)


def settle(
    value: bytes, now: float, who: Claimant, outcome: Outcome, window: float, answer: tuple[int, Headers, bytes]
) -> tuple[Change, bool]:
    """Write down what came of a claim, also where the store has forgotten it; False where another's stands there."""
    known = decode(value) if value else None
    if not value and outcome is not Outcome.FREE:
        known = Record(_RUNNING, who.claim, who.owner, who.fingerprint, now, now)
    if known is None or known.claim != who.claim:
        return Change(None, None), False
    if known.state == outcome.value:
        return Change(None, None), True
    if known.state not in (_RUNNING, Outcome.UNKNOWN.value):
        return Change(None, None), False
    if outcome is Outcome.FREE:
        return Change(b"", 0.001), True
    known.state, known.status = outcome.value, answer[0]
    if outcome is Outcome.ANSWERED:
        known.headers, known.body = answer[1], answer[2]
        if len(known.encode()) > MAX_VALUE:
            known.state, known.headers, known.body = Outcome.DONE.value, [], b""
    return Change(known.encode(), max(1.0, known.began + window - now)), True
