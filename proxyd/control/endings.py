"""Endpoints that vendors have announced to end: an event for each, and a table of them."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from proxyd.core.catalogue import USUAL, KnownService
from proxyd.core.messages import Announced

MOST: Final = 1000
"""Endpoints that are remembered; more are counted by workers and not listed."""

MAX_FIELDS: Final = 8
MAX_TEXT: Final = 512

SOON: Final = 30 * 86400.0
"""Before its end by this much, ``status`` has an endpoint among the problems."""

_LATEST: Final = 32503680000.0
"""The year 3000: what is said to end later is no date."""
_LINK: Final = re.compile(r'<([^<>\s]{1,300})>[^<]*?rel="?(?:deprecation|sunset|successor-version)\b', re.IGNORECASE)

Notice = Callable[[str, str, str], None]
"""Level, name and detail of an event."""


@dataclass(slots=True)
class Ending:
    """One endpoint."""

    service: str
    method: str
    path: str
    first_seen: float
    """Unix time."""
    since: float | None = None
    """Unix time from which it is deprecated; None: not told."""
    ends: float | None = None
    """Unix time of its end; None: not told."""
    words: list[str] = field(default_factory=list)
    """What else the vendor says."""
    link: str = ""

    @property
    def text(self) -> str:
        """The announcement, for a person."""
        said = [f"{self.method} {self.path} of {self.service} is deprecated"]
        said += [f"since {_day(self.since)}"] if self.since is not None else []
        said += [f"and ends on {_day(self.ends)}"] if self.ends is not None else []
        more = [*self.words, *([f"see {self.link}"] if self.link else [])]
        return " ".join(said) + (": " + "; ".join(more) if more else "")


class Endings:
    """What workers tell, sorted by endpoint."""

    def __init__(self, notice: Notice, clock: Callable[[], float] = time.time) -> None:
        self._notice = notice
        self._clock = clock
        self._found: dict[tuple[str, str, str], Ending] = {}
        self.names: dict[str, frozenset[str]] = {}
        """Fields that announce an end, by service."""

    def configure(self, known: tuple[KnownService, ...], services: frozenset[str]) -> None:
        """Go by what definitions say; forget services that are gone."""
        self.names = {one.service: frozenset(one.deprecation) for one in known}
        self._found = {key: ending for key, ending in self._found.items() if key[0] in services}

    def take(self, message: Announced) -> None:
        """Take what a worker tells. ValueError: it breaks a rule."""
        if len(message.fields) > MAX_FIELDS or any(len(item) != 2 for item in message.fields):
            raise ValueError("Announced: too many fields, or no pairs")
        texts = (message.service, message.method, message.path, *(text for item in message.fields for text in item))
        if any(len(text) > MAX_TEXT for text in texts):
            raise ValueError("Announced: a text that is too long")
        names = self.names.get(message.service, frozenset(USUAL))
        ending = Ending(message.service, message.method, message.path, self._clock())
        for name, value in message.fields:
            if name in names or name == "link":
                _read(ending, name, value)
        if ending.since is None and ending.ends is None and not ending.words:
            return
        key = (ending.service, ending.method, ending.path)
        former = self._found.get(key)
        if former is None and len(self._found) >= MOST:
            return
        if former is not None:
            ending.first_seen = former.first_seen
            if ending.text == former.text:
                return
        self._found[key] = ending
        self._notice("warning", "endpoint_deprecated", ending.text)

    def rows(self, service: str) -> list[dict[str, Any]]:
        """Describe those of a service, the nearest end first."""
        found = sorted(self._of(service), key=lambda one: (one.ends or _LATEST, one.path, one.method))
        return [
            {
                "endpoint": f"{one.method} {one.path}",
                "since": _day(one.since) if one.since is not None else None,
                "ends": _day(one.ends) if one.ends is not None else None,
                "words": "; ".join(one.words),
                "link": one.link,
                "first_seen": _moment(one.first_seen),
            }
            for one in found
        ]

    @property
    def problems(self) -> Iterator[str]:
        """What stands in ``status``: what ends soon, or should have ended."""
        now = self._clock()
        for one in self._found.values():
            if one.ends is not None and one.ends - now < SOON:
                yield one.text

    def _of(self, service: str) -> Iterator[Ending]:
        return (one for one in self._found.values() if one.service == service)


def _read(ending: Ending, name: str, value: str) -> None:
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value).strip()
    if name == "sunset":
        ending.ends = _date(text) or ending.ends
    elif name == "deprecation":
        moment = _date(text)
        if moment is not None:
            ending.since = moment
        elif text not in ("", "false", "?0"):  # "true", as drafts before RFC 9745 had it
            ending.words.append("deprecated" if text in ("true", "?1") else text)
    elif name == "link":
        match = _LINK.search(text)
        ending.link = match[1] if match else ending.link
    elif text:
        ending.words.append(text)


def _date(text: str) -> float | None:
    """Return the Unix time of ``@1688169599`` (RFC 9745 §2.1) or of an HTTP date; None for anything else."""
    moment: float | None = None
    if text[:1] == "@" and text[1:].isascii() and text[1:].isdigit() and len(text) < 13:
        moment = float(text[1:])
    else:
        try:
            moment = parsedate_to_datetime(text).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
    return moment if 0 < moment < _LATEST else None


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
