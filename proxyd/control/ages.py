"""Ages and ends of secrets and certificates: each threshold is an event once, and what is over may be denied.

A threshold counts where it fits a life: a certificate of six days is not told a week before its end. What renews itself
(leases, tokens, leaves) is not followed.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import trio

from proxyd.core import metrics
from proxyd.core.messages import CredentialEnds
from proxyd.core.metrics import Metric
from proxyd.core.settings import Ages as Policy
from proxyd.core.units import DAY, HOUR
from proxyd.telemetry.cells import Cells
from proxyd.vault.forms import ends
from proxyd.vault.state import SecretState

MAX_NAME: Final = 256
MAX_TEXT: Final = 256
LOOK_SECONDS: Final = 30.0
MATERIAL: Final = "tls:"
"""What the names of secrets begin with that are certificates, keys and lists of revoked ones; followed one by one."""
SECRET: Final = "secret"  # noqa: S105 - a kind of thing
"""Kind of a subject; all others are certificates."""
OK: Final = "ok"
SOON: Final = "ends soon"
OVER_AGE: Final = "over age"
ENDED: Final = "ended"

Notice = Callable[[str, str, str], None]
"""Level, name and detail of an event."""


_WORDS: Final = {
    SECRET: "secret {}",
    "crl": "the list of revoked certificates {}",
    "trusted": "the trusted certificate {}",
    "chain": "the intermediate certificate of {}",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that ages."""

    kind: str
    """``secret``, or what kind of certificate."""
    name: str
    id: Any = field(repr=False)
    """Equal as long as it is the same one."""
    policy: Policy
    created: float = 0.0
    """Unix time; 0: unknown."""
    ends: float = 0.0
    """Unix time; 0: never, or unknown."""

    @property
    def limit(self) -> float:
        """Unix time at which it is over its age; 0: it has no limit."""
        return self.created + self.policy.max_age if self.created and self.policy.max_age else 0.0

    @property
    def end(self) -> float:
        """The earlier of both ends; 0: there is none."""
        return min((at for at in (self.ends, self.limit) if at), default=0.0)

    def state(self, now: float, begun: float) -> tuple[str, float]:
        """Return the state, and the threshold that was crossed: infinity for none, 0 for the end."""
        if not self.end:
            return OK, float("inf")
        left = self.end - now
        if left <= 0:
            return ENDED if self.end == self.ends else OVER_AGE, 0.0
        fitting = [at for at in self.policy.warn_before if at <= (self.end - begun) / 2]
        crossed = min((at for at in fitting if left <= at), default=float("inf"))
        return SOON if crossed < float("inf") else OK, crossed

    def text(self, now: float) -> str:
        """Say how it stands with it."""
        what = _WORDS.get(self.kind, f"the {self.kind} certificate of {{}}").format(self.name)
        left = self.end - now
        if self.end == self.limit and self.end != self.ends:
            age, most = _span(now - self.created), _span(self.policy.max_age)
            return f"{what} is {age} old, and max_age is {most}; put a new one in its place"
        return f"{what} ends in {_span(left)}; renew it" if left > 0 else f"{what} ended {_span(-left)} ago; renew it"


@dataclass(slots=True)
class _Seen:
    subject: Subject
    begun: float
    told: float = float("inf")
    state: str = OK


class Ages:
    """Looks at subjects again and again."""

    def __init__(self, notice: Notice, cells: Cells, clock: Callable[[], float] = time.time) -> None:
        self._notice = notice
        self._cells = cells
        self._clock = clock
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._told: dict[str, tuple[Any, float]] = {}
        """By secrets' names: the value, and its end in Unix time. Of what is followed alone, which bounds it."""
        self._shown: set[tuple[Metric, tuple[str, ...]]] = set()

    def told(self, message: CredentialEnds) -> None:
        """A vendor has said when a secret ends. ValueError: the worker breaks a rule."""
        if len(message.name) > MAX_NAME or len(message.text) > MAX_TEXT:
            raise ValueError("CredentialEnds: a text that is too long")
        seen, at = self._seen.get((SECRET, message.name)), _date(message.text)
        if seen is not None and at:
            self._told[message.name] = seen.subject.id, at

    def end_told(self, state: SecretState) -> float:
        """Return the end of a secret that its vendor has told of this very value; 0: it has not."""
        secret, at = self._told.get(state.source.name, (None, 0.0))
        return at if secret is not None and secret == state.secret else 0.0

    async def run(self, subjects: Callable[[], Iterable[Subject]], over: Callable[[str], None]) -> None:
        """Look now and then; ``over`` is told the names of secrets that are over from now on."""
        while True:
            for name in self.look(subjects()):
                over(name)
            await trio.sleep(LOOK_SECONDS)

    def look(self, subjects: Iterable[Subject]) -> list[str]:
        """Look at all there is; return the secrets that have become over."""
        now, former, self._seen = self._clock(), self._seen, {}
        over = []
        for subject in subjects:
            key = subject.kind, subject.name
            seen = former.get(key)
            if seen is None or seen.subject.id != subject.id:
                seen = _Seen(subject, subject.created or now)
            seen.subject = subject
            was, (seen.state, crossed) = seen.state, subject.state(now, seen.begun)
            if crossed < seen.told:
                seen.told = crossed
                group = SECRET if subject.kind == SECRET else "certificate"
                event = f"{group}_ends_soon" if crossed else f"{group}_over"
                self._notice("warning" if crossed else "error", event, subject.text(now))
            if subject.kind == SECRET and was != seen.state and seen.state in (OVER_AGE, ENDED):
                over.append(subject.name)
            self._seen[key] = seen
        self._told = {name: told for name, told in self._told.items() if (SECRET, name) in self._seen}
        self._show(now)
        return over

    def judged(self, state: SecretState) -> SecretState:
        """Return a secret as workers may have it: without its value where it is over and that is denied."""
        policy = state.source.ages
        if not policy.deny or state.secret is None or state.source.name.startswith(MATERIAL):
            return state  # one root of many that is over takes no other away, and peers judge the rest
        subject, now = of_secret(state), self._clock()
        if subject.state(now, now)[1]:
            return state
        return replace(state, secret=None, former=(), why=f"{subject.text(now)} (over: deny)")

    def row(self, state: SecretState) -> dict[str, Any]:
        """Describe a secret for the admin socket."""
        now, seen = self._clock(), self._seen.get((SECRET, state.source.name))
        subject = seen.subject if seen is not None else of_secret(state)
        return {
            "age_seconds": round(max(0.0, now - subject.created), 3) if subject.created else None,
            "ends_seconds": round(subject.end - now) if subject.end else None,
            "state": seen.state if seen is not None else OK,
        }

    def state(self, kind: str, name: str) -> str:
        """Return the state of a certificate."""
        seen = self._seen.get((kind, name))
        return seen.state if seen is not None else OK

    @property
    def problems(self) -> Iterator[str]:
        """What stands in ``status``."""
        now = self._clock()
        for seen in self._seen.values():
            if seen.state != OK and seen.subject.kind not in ("root", "intermediate"):
                yield seen.subject.text(now)

    def _show(self, now: float) -> None:
        values = [each for seen in self._seen.values() for each in _values(seen.subject, now)]
        for metric, labels, value in values:
            self._cells.cell(metric, *labels).value = round(value)
        shown = {(metric, labels) for metric, labels, _ in values}
        for metric, labels in self._shown - shown:
            self._cells.forget(metric, *labels)
        self._shown = shown


def _values(subject: Subject, now: float) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
    if subject.kind != SECRET:
        yield metrics.CERTIFICATE_EXPIRY, (subject.kind, subject.name), subject.end - now
        return
    if subject.created:
        yield metrics.SECRET_AGE, (subject.name,), now - subject.created
    if subject.end:
        yield metrics.SECRET_EXPIRY, (subject.name,), subject.end - now


def of_secret(state: SecretState, login_ends: float = 0.0, told_end: float = 0.0) -> Subject:
    """Return a secret as something that ages; what a vault and a vendor say of its end counts besides its own words."""
    renews = state.source.outside is not None and state.source.outside.is_lease
    told = [] if renews else [state.expires, login_ends, told_end, ends(state.secret.reveal()) if state.secret else 0.0]
    end = min((at for at in told if at), default=0.0)
    created = 0.0 if renews else state.created
    return Subject(SECRET, state.source.name, state.secret, state.source.ages, created, end)


def _date(text: str) -> float:
    """Return the Unix time of GitHub's ``2026-12-31 23:59:59 UTC`` (or ``-0500``); 0: it is none."""
    try:
        return datetime.strptime(text.replace(" UTC", " +0000"), "%Y-%m-%d %H:%M:%S %z").timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.0f} days"
    if seconds >= 2 * HOUR:
        return f"{seconds / HOUR:.0f} hours"
    return f"{seconds / 60:.0f} minutes"
