"""The limits of a service: how many requests, how fast, for whom."""

import re
import zoneinfo
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from proxyd.core.limiting import CALLER, CIDR, HEADER, ROUTE, SERVICE, Cost, Limit, Mode, OnLoss, Period
from proxyd.core.units import DAY, HOUR, MIB, MILLISECOND, MINUTE
from proxyd.reading import addresses, names
from proxyd.reading.problems import Mistake, Trail, describe, kind_of
from proxyd.reading.quantities import duration
from proxyd.reading.readers import Bytes, Reader, Seconds, Several, Share, Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.tree import Tree
from proxyd.reading.views import maps, parsed

MOST: Final = 1_000_000_000
"""Tokens of one limit."""

LONGEST_WINDOW: Final = 31 * DAY

_UNITS: Final = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}
_RATE: Final = re.compile(r"([0-9]{1,10}(?:\.[0-9]{1,3})?)/(s|m|h|d)", re.ASCII)
_WINDOW: Final = re.compile(r"([0-9]{1,10})/([0-9][0-9a-z.]{0,15})", re.ASCII)
_QUOTA: Final = re.compile(r"([0-9]{1,10})/(hour|day|month)", re.ASCII)
_KINDS: Final = ("rate", "window", "quota", "concurrency")


class WindowValue(NamedTuple):
    """So many within so long."""

    limit: int
    seconds: float


class QuotaValue(NamedTuple):
    """So many in a period."""

    limit: int
    period: Period


@dataclass(frozen=True)
class _Form(Reader):
    """Text in one of the forms of this module."""

    what: str

    def read(self, value: Any) -> Any:
        """Return what the text says."""
        return _FORMS[self.what](value)

    def schema(self) -> dict[str, Any]:
        """Return a string's schema."""
        return {"type": "string", "format": self.what}


def read_rate(value: object) -> float:
    """Read ``10/s`` as tokens a second."""
    match = _matched(_RATE, value, "a rate such as 10/s, 300/m or 5000/h")
    number = float(match[1]) / _UNITS[match[2]]
    if number <= 0:
        raise Mistake("a limit of zero lets nothing through", "a rate above zero; `access` refuses requests")
    return number


def read_window(value: object) -> WindowValue:
    """Read ``1000/1h``."""
    match = _matched(_WINDOW, value, "a window such as 1000/1h or 10/1s")
    seconds = duration(match[2])
    if not 100 * MILLISECOND <= seconds <= LONGEST_WINDOW:
        raise Mistake("out of range", "a window of 100ms to 31d")
    return WindowValue(_above_zero(match[1]), seconds)


def read_quota(value: object) -> QuotaValue:
    """Read ``1000/month``."""
    match = _matched(_QUOTA, value, "a quota such as 1000/month, 500/day or 60/hour")
    return QuotaValue(_above_zero(match[1]), Period(match[2]))


def read_scope(value: object) -> str:
    """Read one part of a scope."""
    if value in (CALLER, SERVICE, ROUTE, CIDR):
        assert isinstance(value, str)
        return value
    if isinstance(value, str) and value.startswith(HEADER) and re.fullmatch(names.FIELD_NAME_PATTERN, value[7:]):
        return value.lower()
    raise Mistake("not a part of a key", "service, caller, route, cidr or header:NAME")


def read_time_zone(value: object) -> str:
    """Read the name of a time zone."""
    if isinstance(value, str):
        try:
            return zoneinfo.ZoneInfo(value).key
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            pass
    raise Mistake("not a time zone of this machine", "a name such as UTC or America/New_York")


def _above_zero(text: str) -> int:
    number = int(text)
    if not 0 < number <= MOST:
        raise Mistake("a limit of zero lets nothing through" if not number else "out of range", f"1 to {MOST}")
    return number


def _matched(pattern: re.Pattern[str], value: object, expected: str) -> re.Match[str]:
    match = pattern.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
    if match is None:
        raise Mistake(f"{kind_of(value)} stands here" if not isinstance(value, str) else "not understood", expected)
    return match


_FORMS: Final = {"rate": read_rate, "window": read_window, "quota": read_quota}


class CostSection(Section):
    """What requests that fit cost; the first that fits counts, without any it is one."""

    methods: Annotated[list[Annotated[str, Text(names.method, "method")]], Several(), Field(min_length=1)] = []
    """Methods, exactly as they are sent. Without it: every method."""
    path: Annotated[str, Text(addresses.url_path, "path")] = ""
    """What the upstream's path begins with. Without it: every path."""
    tokens: Annotated[int, Whole(0, 1_000_000)] = 1
    """What such a request costs."""
    per_bytes: Annotated[int, Bytes(0, 1024 * MIB)] = 0
    """One more for each so many bytes of the body, where its length is told; 0: none."""

    def compiled(self) -> Cost:
        """Return the noun."""
        return Cost(tuple(self.methods), self.path, self.tokens, self.per_bytes)


class LimitSection(Section):
    """One limit: exactly one of `rate`, `window`, `quota` and `concurrency`."""

    name: Annotated[str, Text(names.name, "name", names.NAME_PATTERN)]
    """Stands in answers, logs and commands; unique within the service."""
    scope: Annotated[list[Annotated[str, Text(read_scope, "key")]], Several(), Field(min_length=1)] = [SERVICE]
    """What is counted together: `service`, or `caller`, `route` (method and path), `cidr` (/24, /64), `header:NAME`."""
    rate: Annotated[float, _Form("rate")] = 0.0
    """A bucket: in any t seconds at most `burst` and `rate` times t, such as `10/s`."""
    burst: Annotated[int, Whole(1, MOST)] | None = None
    """Tokens that a full bucket holds. Without it: what the rate allows in a second, 1 at least."""
    window: Annotated[WindowValue | None, _Form("window")] = None
    """A vendor's window: never more than so many in any span of this length, such as `1000/1h`."""
    quota: Annotated[QuotaValue | None, _Form("quota")] = None
    """So many an hour, day or month, kept across restarts, such as `1000/month`."""
    begins: Annotated[int, Whole(1, 28)] = 1
    """Day of the month on which the vendor's month begins."""
    time_zone: Annotated[str, Text(read_time_zone, "time zone")] = "UTC"
    """Where the day and the month of a quota begin."""
    warn: list[Annotated[float, Share(1, 100)]] = []
    """Shares of a quota at which an event and `proxyd quota` say so."""
    stop: Literal["hard", "soft"] = "hard"
    """`soft`: a quota that is over is told, and requests go on."""
    concurrency: Annotated[int, Whole(1, 1_000_000)] | None = None
    """So many requests at a time, in each worker."""
    mode: Literal["reject", "queue", "pace"] = "reject"
    """Beyond it: 429 at once; wait, callers in turn; or wait so that requests go out evenly."""
    max_wait: Annotated[float, Seconds(0.0, HOUR)] = Limit("").max_wait
    """The longest wait; 429 after it."""
    max_waiting: Annotated[int, Whole(1, 100_000)] = Limit("").max_waiting
    """Requests that wait; 429 beyond."""
    costs: Annotated[list[CostSection], Field(max_length=32)] = []
    """What requests cost. Without it: one each."""
    on_store_loss: Literal["open", "closed", "local"] = "local"
    """While shared state is away: everything passes, nothing does, or each member keeps to its share."""

    def compiled(self) -> Limit:
        """Return the noun."""
        pace = self.mode == "pace"
        return Limit(
            name=self.name,
            scope=tuple(self.scope),
            rate=self.rate,
            burst=1 if pace else self.burst or max(1, int(self.rate)),
            window=self.window.limit if self.window else 0,
            window_seconds=self.window.seconds if self.window else 0.0,
            quota=self.quota.limit if self.quota else 0,
            period=self.quota.period if self.quota else Period.MONTH,
            begins=self.begins,
            time_zone=self.time_zone,
            warn=tuple(sorted(self.warn)),
            is_soft=self.stop == "soft",
            concurrency=self.concurrency or 0,
            mode=Mode(self.mode),
            max_wait=self.max_wait,
            max_waiting=self.max_waiting,
            costs=tuple(cost.compiled() for cost in self.costs),
            on_loss=OnLoss(self.on_store_loss),
        )


def check_limits(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    """Report what only several values show."""
    seen: set[str] = set()
    windows: list[tuple[WindowValue, Trail, list[str]]] = []
    for item_trail, item in maps(service.get("limits"), (*trail, "limits")):
        given = [kind for kind in _KINDS if kind in item]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "nothing says what the limit is"
            tree.add(item_trail, describe(found, "exactly one of rate, window, quota and concurrency"), at_key=True)
        name = item.get("name")
        if isinstance(name, str) and name in seen:
            tree.add((*item_trail, "name"), "another limit of this service has the name already")
        seen.add(str(name))
        _check_kind(tree, item_trail, item)
        value = parsed(read_window, item.get("window"))
        if value is not None:
            key = item.get("scope", SERVICE)
            _check_windows(tree, item_trail, value, key if isinstance(key, list) else [key], windows)


def _check_kind(tree: Tree, trail: Trail, item: dict[str, Any]) -> None:
    for key, kinds in (
        ("burst", ("rate",)),
        ("begins", ("quota",)),
        ("time_zone", ("quota",)),
        ("warn", ("quota",)),
        ("stop", ("quota",)),
    ):
        if key in item and not any(kind in item for kind in kinds):
            tree.add((*trail, key), describe("it has no effect", f"{' or '.join(kinds)} beside it"), at_key=True)
    if item.get("mode") == "pace" and "rate" not in item:
        tree.add((*trail, "mode"), describe("only a rate can be paced", "rate beside it, or mode: queue"))
    if item.get("mode", "reject") == "reject" and "max_wait" in item:
        tree.add((*trail, "max_wait"), "nothing waits in mode reject", at_key=True)


def _check_windows(
    tree: Tree,
    trail: Trail,
    value: WindowValue,
    key: list[str],
    windows: list[tuple[WindowValue, Trail, list[str]]],
) -> None:
    """A longer window that holds fewer than a shorter one makes that one void; one that can never fill is void too."""
    for other, other_trail, other_key in windows:
        if sorted(map(str, other_key)) != sorted(map(str, key)):
            continue
        long, short = (value, other) if value.seconds >= other.seconds else (other, value)
        if long.limit <= short.limit:
            problem = f"it contradicts the window on line {tree.line(other_trail)}: the longer one holds no more"
            tree.add((*trail, "window"), problem)
        elif long.limit >= short.limit * -(-long.seconds // short.seconds):
            problem = f"together with the window on line {tree.line(other_trail)} the longer one can never be reached"
            tree.add((*trail, "window"), problem)
    windows.append((value, trail, key))
