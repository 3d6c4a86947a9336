"""A vendor's clock, learned from its answers: signatures carry a time, and a machine's own may be wrong."""

from email.utils import parsedate_to_datetime
from typing import Final

from proxyd.core.headers import first
from proxyd.core.message import Response

TOLERANCE: Final = 120.0
"""Seconds that clocks may be apart before anything is corrected; vendors allow some five minutes."""

MOST: Final = 86_400.0
"""Seconds beyond which a Date is not believed."""

_REFUSALS: Final = frozenset({400, 401, 403})


class Clock:
    """How far a vendor's clock is ahead of ours."""

    __slots__ = ("skew",)

    def __init__(self) -> None:
        self.skew = 0.0
        """Seconds."""

    def learn(self, response: Response, now: float) -> bool:
        """Take the time of a refusal (Date, RFC 9110 §6.6.1); whether what was signed before had a wrong one."""
        if response.status not in _REFUSALS:
            return False
        value = first(response.headers, b"date")
        if value is None:
            return False
        try:
            theirs = parsedate_to_datetime(value.decode("ascii")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return False
        skew = theirs - now
        if abs(skew) > MOST or abs(skew - self.skew) <= TOLERANCE:
            return False
        self.skew = skew
        return True
