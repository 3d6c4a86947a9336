"""What may be kept, and what a kept answer is good for: a shared cache's rules, section by section (RFC 9111).

A request that proxyd adds a credential to is keyed by it (``Entry`` belongs to one scope), so §3.5 concerns only the
credentials that clients bring themselves.
"""

import enum
from dataclasses import dataclass, field, replace
from time import gmtime
from typing import Final, NamedTuple

from proxyd.caching.directives import Directives, cache_control, date, names, parse_date, seconds
from proxyd.caching.freshness import HEURISTIC_STATUSES, Times, age, lifetime
from proxyd.core.caching import CachePolicy
from proxyd.core.headers import Headers, every, first, tokens
from proxyd.core.message import Lines

SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})

_UNDERSTOOD: Final = HEURISTIC_STATUSES | {302, 303, 307, 400, 401, 403, 406, 415, 421, 429, 500, 502, 503, 504}
"""Statuses whose caching rules are implemented; for must-understand (§5.2.2.3)."""

_NOT_KEPT: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"}
)
_TELLING: Final = frozenset({b"cache-control", b"expires", b"last-modified", b"etag"})
"""Fields that make an answer fresh, or a condition of a request."""

_NOT_REFRESHED: Final = frozenset({b"content-length", b"content-encoding", b"content-range", b"content-type"})
"""What a 304 never changes: it describes the stored content (§3.2)."""


class Marked(NamedTuple):
    """An entry's fields with Age and Cache-Status, which stay the same for a second."""

    age: int
    """In whole seconds."""
    template: bytes
    """What Cache-Status was made from, which names this proxy."""
    lines: Lines


@dataclass(slots=True)
class Entry:
    """One kept answer."""

    status: int
    headers: Headers
    body: bytes
    times: Times
    vary: tuple[tuple[bytes, bytes | None], ...]
    """The request's fields that Vary names, normalised."""
    scope: str = ""
    """The credential that it was the answer to; it is for no other."""
    directives: Directives = field(default_factory=dict)
    lifetime: float = 0.0
    born: float = field(init=False)
    """When it was made by our clock, as Age and Date tell (§4.2.3)."""
    fresh_until: float = field(init=False)
    """Until then it answers requests that ask for nothing special."""
    marked: Marked | None = field(init=False, default=None, compare=False)
    """What its last hit was sent with."""

    def __post_init__(self) -> None:
        self.born = self.times.received - age(self.headers, self.times, self.times.received)
        always_asked = b"no-cache" in self.directives and self.directives[b"no-cache"] is None
        self.fresh_until = 0.0 if always_asked else self.born + self.lifetime

    @property
    def size(self) -> int:
        """Bytes that it is counted with: the fields twice, since ``marked`` has them as well."""
        return len(self.body) + sum(2 * (len(name) + len(value)) + 64 for name, value in self.headers) + 512

    def age(self, now: float) -> float:
        """Seconds since it was made (§4.2.3)."""
        return max(0.0, now - self.born)

    @property
    def validators(self) -> Headers:
        """The condition to ask the upstream with (§4.3.1)."""
        condition: Headers = []
        tag = first(self.headers, b"etag")
        if tag is not None:
            condition.append((b"if-none-match", tag))
        modified = first(self.headers, b"last-modified")
        if modified is not None and date(self.headers, b"last-modified") is not None:
            condition.append((b"if-modified-since", modified))
        return condition


class Verdict(enum.Enum):
    """What to do with a request that an entry was found for, or none."""

    HIT = "hit"
    """Answer from the entry."""
    STALE = "stale"
    """Answer from the entry, and ask the upstream beside (stale-while-revalidate)."""
    VALIDATE = "validate"
    """Ask the upstream with the entry's validators."""
    MISS = "miss"
    """Ask the upstream."""
    UNSATISFIED = "unsatisfied"
    """``only-if-cached``, and there is nothing: 504 (§5.2.1.7)."""


class Decision(NamedTuple):
    """A verdict and why, in RFC 9211's words where it has one."""

    verdict: Verdict
    reason: str


def may_use(method: bytes, headers: Headers) -> bool:
    """Whether a request can be answered from a cache at all."""
    return method in (b"GET", b"HEAD") and b"no-store" not in cache_control(headers)


def is_silent(response: Headers, options: CachePolicy) -> bool:
    """Whether an answer has nothing that could make it fresh or let it be validated, so that ``make_entry`` has none.

    Most answers of APIs are like that, and this is all that they cost.
    """
    if options.stale_if_error or options.stale_while_revalidate:
        return False
    for name, _ in response:  # noqa: SIM110 - a generator costs more than the search
        if name in _TELLING:
            return False
    return True


def may_store(
    method: bytes,
    request: Headers,
    status: int,
    response: Headers,
    *,
    authorized: bool,
    options: CachePolicy,
    directives: Directives | None = None,
) -> str | None:
    """Return why an answer may not be kept (§3), None where it may. ``authorized``: the client sent Authorization.

    ``directives``: the answer's, where they were read already.
    """
    if directives is None:
        directives = cache_control(response)
    if method != b"GET":
        return "method"
    if status < 200 or status in (206, 304):
        return "status"
    if b"must-understand" in directives:
        if status not in _UNDERSTOOD:
            return "must-understand"
    elif b"no-store" in directives:
        return "no-store"
    if b"no-store" in cache_control(request):
        return "request no-store"
    if b"private" in directives and directives[b"private"] is None and not options.private:
        return "private"
    if b"*" in tokens(every(response, b"vary")):
        return "vary"
    if authorized and not directives.keys() & {b"public", b"s-maxage", b"must-revalidate"}:
        return "authorization"  # §3.5
    told = (
        directives.keys() & {b"public", b"s-maxage", b"max-age", b"private"} or first(response, b"expires") is not None
    )
    if not told and status not in HEURISTIC_STATUSES:
        return "status"
    return None


def make_entry(
    request: Headers,
    status: int,
    response: Headers,
    body: bytes,
    times: Times,
    options: CachePolicy,
    scope: str = "",
    directives: Directives | None = None,
) -> Entry | None:
    """Return what to keep; None where it would neither be fresh nor could ever be validated."""
    if directives is None:
        directives = cache_control(response)
    dropped = set(_NOT_KEPT) | set(tokens(every(response, b"connection")))
    for name in (b"no-cache", b"private"):  # §5.2.2.4, §5.2.2.7: qualified, the fields are left out
        if not (name == b"private" and options.private):
            dropped |= names(directives.get(name))
    kept = [item for item in response if item[0] not in dropped]
    if first(kept, b"date") is None:  # RFC 9110 §6.6.1: a recipient with a clock adds it
        kept.append((b"date", http_date(times.received)))
    fresh = lifetime(status, kept, directives, times)
    entry = Entry(status, kept, body, times, vary_of(request, response), scope, directives, fresh)
    if entry.lifetime <= 0 and not entry.validators and not _stale_seconds(entry, options):
        return None
    return entry


def _stale_seconds(entry: Entry, options: CachePolicy) -> float:
    return max(
        float(seconds(entry.directives, b"stale-while-revalidate") or 0),
        float(seconds(entry.directives, b"stale-if-error") or 0),
        options.stale_if_error,
        options.stale_while_revalidate,
    )


def vary_of(request: Headers, response: Headers) -> tuple[tuple[bytes, bytes | None], ...]:
    """Return the fields of a request that an answer varies by (§4.1), in order of their names."""
    return tuple((name, _normalised(request, name)) for name in sorted(set(tokens(every(response, b"vary")))))


def matches(entry: Entry, request: Headers) -> bool:
    """Whether an entry was selected by the same fields (§4.1)."""
    return all(_normalised(request, name) == value for name, value in entry.vary)


def _normalised(headers: Headers, name: bytes) -> bytes | None:
    values = every(headers, name)
    if not values:
        return None
    return b",".join(b" ".join(member.split()) for value in values for member in value.split(b","))


def decide(entry: Entry | None, request: Headers, now: float, options: CachePolicy) -> Decision:
    """Say what to do with a request that ``may_use`` allowed (§4)."""
    asked = cache_control(request)
    if not asked and first(request, b"cache-control") is None and b"no-cache" in tokens(every(request, b"pragma")):
        asked = {b"no-cache": None}  # §5.4
    if entry is None:
        if b"only-if-cached" in asked:
            return Decision(Verdict.UNSATISFIED, "only-if-cached")
        return Decision(Verdict.MISS, "uri-miss")
    reason = _why_not_fresh(entry, asked, now)
    if reason is None:
        return Decision(Verdict.HIT, "hit")
    if reason == "stale" and _is_served_stale(entry, asked, now, options):
        return Decision(Verdict.STALE, "stale")
    if b"only-if-cached" in asked:
        return Decision(Verdict.UNSATISFIED, "only-if-cached")
    if entry.validators:
        return Decision(Verdict.VALIDATE, reason)
    return Decision(Verdict.MISS, reason)


def _why_not_fresh(entry: Entry, asked: Directives, now: float) -> str | None:
    directives = entry.directives
    if b"no-cache" in asked:
        return "request"
    if b"no-cache" in directives and directives[b"no-cache"] is None:
        return "stale-no-cache"
    old = entry.age(now)
    oldest = seconds(asked, b"max-age")
    if oldest is not None and old > oldest:
        return "request"
    least = seconds(asked, b"min-fresh")
    if least is not None and entry.lifetime - old < least:
        return "request"
    if old < entry.lifetime:
        return None
    if b"max-stale" in asked and not _must_revalidate(directives):
        most = seconds(asked, b"max-stale") if asked[b"max-stale"] is not None else None
        if most is None or old - entry.lifetime <= most:
            return None
    return "stale"


def _must_revalidate(directives: Directives) -> bool:
    """§5.2.2.2, §5.2.2.8, and s-maxage, which implies it for a shared cache (§5.2.2.10)."""
    return bool(directives.keys() & {b"must-revalidate", b"proxy-revalidate", b"s-maxage"})


def _is_served_stale(entry: Entry, asked: Directives, now: float, options: CachePolicy) -> bool:
    told = seconds(entry.directives, b"stale-while-revalidate")
    if entry.directives.keys() & {b"must-revalidate", b"proxy-revalidate"}:
        return False  # §5.2.2.2: MUST NOT, whatever else it says
    if told is None and b"s-maxage" in entry.directives:
        return False
    if asked.keys() & {b"max-age", b"min-fresh"}:
        return False
    window = options.stale_while_revalidate if told is None else told
    return entry.age(now) - entry.lifetime < window


def may_serve_on_error(entry: Entry, request: Headers, now: float, options: CachePolicy) -> bool:
    """Whether a stale entry may stand in for an upstream that fails: 5xx or no answer (RFC 5861 §4, §4.2.4)."""
    directives = entry.directives
    if directives.keys() & {b"must-revalidate", b"proxy-revalidate"}:
        return False
    if b"no-cache" in directives and directives[b"no-cache"] is None:
        return False
    asked = cache_control(request)
    if b"no-cache" in asked:
        return False
    told = seconds(asked, b"stale-if-error")
    if told is None:
        told = seconds(directives, b"stale-if-error")
    if told is None and b"s-maxage" in directives:
        return False
    window = options.stale_if_error if told is None else told
    return entry.age(now) - entry.lifetime <= window


def refreshed(entry: Entry, response: Headers, times: Times) -> Entry:
    """Return the entry as a 304 updates it (§3.2, §4.3.4)."""
    dropped = _NOT_KEPT | _NOT_REFRESHED | set(tokens(every(response, b"connection")))
    new = [item for item in response if item[0] not in dropped]
    replaced = {name for name, _ in new}
    if b"date" not in replaced:
        new.append((b"date", http_date(times.received)))
        replaced.add(b"date")
    headers = [item for item in entry.headers if item[0] not in replaced and item[0] != b"age"] + new
    directives = cache_control(headers)
    return replace(
        entry,
        headers=headers,
        times=times,
        directives=directives,
        lifetime=lifetime(entry.status, headers, directives, times),
    )


def is_same_representation(entry: Entry, response: Headers) -> bool:
    """Whether a 304, or an answer to HEAD, is about what is stored (§4.3.4, §4.3.5)."""
    tag, stored = first(response, b"etag"), first(entry.headers, b"etag")
    if tag is not None:
        return stored is not None and weak_match(tag, stored)
    modified = first(response, b"last-modified")
    if modified is not None:
        return modified == first(entry.headers, b"last-modified")
    return True


def is_not_modified(entry: Entry, request: Headers) -> bool:
    """Whether the client has the entry already: evaluate its condition (§4.3.2, RFC 9110 §13.2.2)."""
    asked = every(request, b"if-none-match")
    if asked:
        stored = first(entry.headers, b"etag")
        members = [member.strip() for value in asked for member in _tags(value)]
        return b"*" in members or (stored is not None and any(weak_match(member, stored) for member in members))
    since = first(request, b"if-modified-since")
    if since is None:
        return False
    asked_date, modified = parse_date(since), date(entry.headers, b"last-modified")
    if modified is None:
        modified = date(entry.headers, b"date")
    return asked_date is not None and modified is not None and modified <= asked_date


def _tags(value: bytes) -> list[bytes]:
    """Split a list of entity tags; a tag may hold commas."""
    parts: list[bytes] = []
    at = 0
    while at < len(value):
        quote = value.find(b'"', at)
        comma = value.find(b",", at)
        if quote >= 0 and (comma < 0 or quote < comma):
            end = value.find(b'"', quote + 1)
            end = len(value) if end < 0 else end + 1
        else:
            end = len(value) if comma < 0 else comma
        part = value[at:end].strip(b" \t,")
        if part:
            parts.append(part)
        at = end + 1 if end < len(value) and value[end : end + 1] == b"," else max(end, at + 1)
    return parts


def weak_match(one: bytes, other: bytes) -> bool:
    """Compare entity tags weakly (RFC 9110 §8.8.3.2)."""
    return one.removeprefix(b"W/") == other.removeprefix(b"W/")


def invalidates(method: bytes, status: int) -> bool:
    """Whether an answer makes what is stored for the target invalid (§4.4)."""
    return method not in SAFE and 200 <= status < 400


_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def http_date(when: float) -> bytes:
    """Return IMF-fixdate (RFC 9110 §5.6.7)."""
    year, month, day, hour, minute, second, weekday = gmtime(when)[:7]
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[weekday],
        day,
        _MONTHS[month - 1],
        year,
        hour,
        minute,
        second,
    )
