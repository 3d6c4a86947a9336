"""What one check found: a verdict, a person's words, and what to do."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class Verdict(enum.Enum):
    """How bad it is. Only ``FAIL`` changes the exit code."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    check: str
    verdict: Verdict
    what: str
    todo: str = ""
    """Empty where there is nothing to do."""

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"check": self.check, "verdict": self.verdict.value, "what": self.what, "todo": self.todo}


def ok(check: str, what: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Verdict.OK, what)


def warn(check: str, what: str, todo: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(check, Verdict.WARN, what, todo)


def fail(check: str, what: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAIL, what, todo)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of ``verdicts``; of none, OK."""
    order = list(Verdict)
    return order[max(map(order.index, verdicts), default=0)]
