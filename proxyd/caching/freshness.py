"""How old an answer is and how long it stays fresh (RFC 9111 §4.2)."""

from typing import Final, NamedTuple

from proxyd.caching.directives import OVERFLOW, Directives, date, seconds
from proxyd.core.headers import Headers, every

HEURISTIC_SHARE: Final = 0.1
"""Of the time since Last-Modified (§4.2.2)."""

HEURISTIC_MOST: Final = 86_400.0

HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses that may be kept without being told so (RFC 9110 §15.1)."""


class Times(NamedTuple):
    """When an answer was asked for and came, in Unix seconds by our clock."""

    requested: float
    received: float


def age(headers: Headers, times: Times, now: float) -> float:
    """Return the age in seconds (§4.2.3)."""
    received_date = date(headers, b"date")
    apparent = max(0.0, times.received - received_date) if received_date is not None else 0.0
    corrected = _age_value(headers) + (times.received - times.requested)
    return max(apparent, corrected) + max(0.0, now - times.received)


def _age_value(headers: Headers) -> float:
    """The Age field; of several the first counts, and what is no number is none (§5.1)."""
    values = every(headers, b"age")
    if not values:
        return 0.0
    member = values[0].split(b",")[0].strip()
    return float(min(int(member), OVERFLOW)) if member.isdigit() and len(member) < 19 else 0.0


def lifetime(status: int, headers: Headers, directives: Directives, times: Times) -> float:
    """Return the seconds that an answer is fresh for, by a shared cache's rules (§4.2.1)."""
    for name in (b"s-maxage", b"max-age"):
        told = seconds(directives, name)
        if told is not None:
            return float(told)
    expires = every(headers, b"expires")
    if expires:
        until = date(headers, b"expires") if len(expires) == 1 else None
        if until is None:
            return 0.0  # not a date, or more than one: stale (§5.3)
        base = date(headers, b"date")
        return max(0.0, until - (times.received if base is None else base))
    if status in HEURISTIC_STATUSES or b"public" in directives:
        modified = date(headers, b"last-modified")
        if modified is not None:
            base = date(headers, b"date")
            since = (times.received if base is None else base) - modified
            return min(HEURISTIC_MOST, max(0.0, since * HEURISTIC_SHARE))
    return 0.0
