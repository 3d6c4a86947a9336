"""What became of every request, and what that comes to."""

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.stats import percentile


class Kind(enum.Enum):
    """How a request ended for the client."""

    GOOD = "good"
    REFUSED = "refused"
    """A whole answer, with another status than 200."""
    CUT = "cut"
    """The answer broke off after its head."""
    BROKEN = "broken"
    """There was no answer."""
    LATE = "late"
    """There was none within the client's patience."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request."""

    number: int
    method: str
    at: float
    """When it was due, in seconds since the load began."""
    seconds: float
    """From when it was due to its end."""
    kind: Kind
    status: int = 0
    origin: str = ""
    """The endpoint whose answer it is."""

    @property
    def is_good(self) -> bool:
        """Whether the client has what it asked for."""
        return self.kind is Kind.GOOD


def failures(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that the client has to call failed."""
    return [one for one in outcomes if not one.is_good]


def kinds(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many ended in which way, by status where there was one."""
    return dict(Counter(f"{one.kind.value} {one.status}" if one.status else one.kind.value for one in outcomes))


def latency_ms(outcomes: Sequence[Outcome], quantile: float) -> float:
    """A percentile of all requests, those that failed included."""
    return percentile([one.seconds * 1000 for one in outcomes], quantile) if outcomes else 0.0


def last_failure(outcomes: Iterable[Outcome], since: float) -> float:
    """Seconds from ``since`` to the latest request that failed, 0 where none did after it."""
    return max((one.at - since for one in failures(outcomes) if one.at > since), default=0.0)


def unsafe_cuts(outcomes: Iterable[Outcome], method: str) -> int:
    """Answers of ``method`` that broke off after the head: the client had it already, so there was no way back."""
    return sum(1 for one in outcomes if one.method == method and one.kind is Kind.CUT)


def ledger_errors(outcomes: Iterable[Outcome], ledger: Iterable[str]) -> tuple[int, int]:
    """POSTs whose effect happened twice, and POSTs that the client takes for done and were not."""
    effects = Counter(ledger)
    doubled = sum(1 for count in effects.values() if count > 1)
    lost = sum(1 for one in outcomes if one.method == "POST" and one.is_good and not effects[str(one.number)])
    return doubled, lost
