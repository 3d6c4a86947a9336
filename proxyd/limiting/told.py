"""What a response says of the vendor's limits. Pure; every spelling that is known stands here.

- ``RateLimit`` and ``RateLimit-Policy`` as draft-ietf-httpapi-ratelimit-headers has them (from -08 on: a list of quoted
  names with ``r`` and ``t``), as -07 had them (``limit=…, remaining=…, reset=…``), and as fields of their own before.
- ``X-RateLimit-Limit``, ``-Remaining``, ``-Reset`` and what vendors made of them: a name before or after
  (``-Requests``, ``-Minute``), another prefix, ``rate-limit`` in two words.
- ``Retry-After`` in both forms (RFC 9110 §10.2.3), and in milliseconds under vendors' names.

A reset is seconds from now, an epoch in seconds or milliseconds, a date, or a duration such as ``6m0s``: the value
itself tells which. An epoch is compared with the answer's own Date, since clocks differ.
"""

import functools
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from proxyd.core.headers import Headers

MAX_WINDOWS: Final = 8
"""Windows that one answer may tell of; more are left out."""

MAX_NAME: Final = 48
MAX_VALUE: Final = 512
"""Bytes of a field's value that are looked at."""

MAX_COUNT: Final = 2**40
LONGEST: Final = 40 * 86_400.0
"""Seconds that are believed of any moment."""

MAX_KNOWN: Final = 512
"""Names of fields whose meaning is remembered."""

_EPOCH: Final = 1_000_000_000
_EPOCH_MS: Final = 100_000_000_000
_SKEW: Final = 86_400.0
"""A Date that is further from our clock is not believed."""

_NUMBER: Final = re.compile(rb"\s*([0-9]{1,18})(?:\.([0-9]{1,9}))?\s*", re.ASCII)
_GO: Final = re.compile(rb"(?:([0-9.]{1,12})d)?(?:([0-9.]{1,12})h)?(?:([0-9.]{1,12})m)?(?:([0-9.]{1,12})s)?", re.ASCII)
_GO_MS: Final = re.compile(rb"([0-9.]{1,12})ms", re.ASCII)
_MEMBER: Final = re.compile(
    rb'\s*(?:"([^"\\]{0,64})"|([A-Za-z*][A-Za-z0-9_.:/*-]{0,63}))((?:\s*;[^,;]*)*)\s*', re.ASCII
)
_PARAMETER: Final = re.compile(rb";\s*([a-z_]+)\s*=\s*\"?([A-Za-z0-9.-]+)", re.ASCII)
_OLD: Final = re.compile(rb"\b(limit|remaining|reset)\s*=\s*([0-9]+)", re.ASCII)
_OLD_POLICY: Final = re.compile(rb"([0-9]+)\s*;[^,]*?\bw\s*=\s*([0-9]+)", re.ASCII)

_PARTS: Final = {
    "limit": "limit",
    "max": "limit",
    "quota": "limit",
    "remaining": "remaining",
    "reset": "reset",
    "next": "reset",
    "reset-after": "reset",
    "period": "length",
    "interval-seconds": "length",
    "resource": "resource",
    "name": "resource",
    "bucket": "resource",
    "policy": "policy",
    "": "field",
}
_LENGTHS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_RETRY: Final = {
    "retry-after": 1.0,
    "x-retry-after": 1.0,
    "retry-after-ms": 0.001,
    "x-ms-retry-after-ms": 0.001,
    "x-amz-retry-after": 0.001,
    "x-acs-retry-after": 0.001,
}
"""Fields that say how long to stay away, and their unit in seconds."""


class Reading(NamedTuple):
    """One window, as the vendor tells of it."""

    name: str
    remaining: int
    limit: int
    """0: it was not told."""
    reset: float
    """Seconds from the answer on; below 0: it was not told."""
    length: float
    """Seconds; 0: it was not told."""


class Told(NamedTuple):
    """All that one answer says."""

    windows: tuple[Reading, ...]
    retry: float | None
    """Seconds to stay away; None: it was not told."""
    resource: str
    """Which of several budgets the request was counted against."""


NOTHING: Final = Told((), None, "")

_known: dict[bytes, tuple[str, str] | None] = {}


def meaning(field: bytes) -> tuple[str, str] | None:
    """Return which part of what window a field tells, None where it tells nothing of limits."""
    try:
        return _known[field]
    except KeyError:
        found = _meaning(field)
        if len(_known) < MAX_KNOWN:
            _known[field] = found
        return found


def read(headers: Headers, now: float) -> Told:
    """Return what a response's fields say; ``now`` is Unix time."""
    found: list[tuple[str, str, bytes]] | None = None
    for field, value in headers:
        known = _known[field] if field in _known else meaning(field)
        if known is not None:
            if found is None:
                found = []
            found.append((*known, value[:MAX_VALUE]))
    if found is None:
        return NOTHING
    return _told(found, _clock(headers, now))


def wait_told(headers: Headers, now: float) -> float | None:
    """Return the seconds that a refusal asks for: Retry-After, else the reset of what is used up, else any reset."""
    told = read(headers, now)
    if told.retry is not None:
        return told.retry
    resets = [one.reset for one in told.windows if one.remaining == 0 and one.reset >= 0]
    if resets:
        return max(resets)
    for field, value in headers:
        known = meaning(field)
        if known is not None and known[0] == "reset":
            return moment(value[:MAX_VALUE], _clock(headers, now))
    return None


def moment(value: bytes, now: float) -> float | None:
    """Return the seconds until what a value says in any of the forms; None where none fits."""
    match = _NUMBER.fullmatch(value)
    if match is not None:
        number = float(value)
        if number >= _EPOCH_MS:
            number = number / 1000 - now
        elif number >= _EPOCH:
            number -= now
        return _bounded(number)
    match = _GO_MS.fullmatch(value)
    if match is not None:
        return _scaled(((match[1], 0.001),))
    match = _GO.fullmatch(value)
    if match is not None and value:
        return _scaled(zip(match.groups(), (86_400.0, 3600.0, 60.0, 1.0), strict=True))
    return _date(value, now)


def _date(value: bytes, now: float) -> float | None:
    text = value.decode("latin-1").strip()
    try:
        when = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return _bounded(when.timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _bounded(seconds: float) -> float:
    return min(LONGEST, max(0.0, seconds))


def _scaled(parts: Iterable[tuple[bytes | None, float]]) -> float | None:
    try:
        return _bounded(sum(float(number) * unit for number, unit in parts if number))
    except ValueError:
        return None


def _meaning(field: bytes) -> tuple[str, str] | None:
    name = field.decode("latin-1")
    if name in _RETRY:
        return "retry", name
    prefix, found, rest = name.replace("rate-limit", "ratelimit").partition("ratelimit")
    if not found or (rest and rest[0] != "-"):
        return None
    rest = rest[1:]
    if rest in _PARTS:
        part = _PARTS[rest]
        return (part, "") if part != "field" or prefix in ("", "x-") else None
    before, _, last = rest.rpartition("-")
    head, _, after = rest.partition("-")
    if _PARTS.get(head, "") in ("limit", "remaining", "reset"):
        return _PARTS[head], after[:MAX_NAME]
    if _PARTS.get(last, "") in ("limit", "remaining", "reset"):
        return _PARTS[last], before[:MAX_NAME]
    return None


def _clock(headers: Headers, now: float) -> float:
    """Return the vendor's time where it tells it, else ours."""
    for field, value in headers:
        if field == b"date":
            theirs = _timestamp(value[:MAX_NAME])
            return theirs if theirs is not None and abs(theirs - now) < _SKEW else now
    return now


@functools.lru_cache(maxsize=64)
def _timestamp(value: bytes) -> float | None:
    """Read a Date; those of one second are the same."""
    try:
        return parsedate_to_datetime(value.decode("latin-1")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _told(found: list[tuple[str, str, bytes]], now: float) -> Told:
    parts: dict[str, dict[str, bytes]] = {}
    windows: dict[str, Reading] = {}
    retry: float | None = None
    resource = ""
    policies: dict[str, tuple[int, float]] = {}
    for part, name, value in found:
        if part == "retry":
            if retry is None:
                retry = _retry(name, value, now)
        elif part == "resource":
            resource = resource or value.decode("latin-1").strip()[:MAX_NAME]
        elif part == "policy":
            policies |= _policies(value)
        elif part == "field":
            windows |= _members(value)
        else:
            parts.setdefault(name, {}).setdefault(part, value)
    shared = parts.get("", {})
    for name, told in parts.items():
        reading = _reading(name, told, shared, now)
        if reading is not None and name not in windows:
            windows[name] = reading
    readings = [_with_policy(one, policies) for one in windows.values()]
    return Told(tuple(readings[:MAX_WINDOWS]), retry, resource)


def _retry(name: str, value: bytes, now: float) -> float | None:
    unit = _RETRY[name]
    if unit != 1.0:
        match = _NUMBER.fullmatch(value)
        return _bounded(float(value) * unit) if match is not None else None
    return moment(value, now)


def _reading(name: str, told: dict[str, bytes], shared: dict[str, bytes], now: float) -> Reading | None:
    remaining = _count(told.get("remaining"))
    if remaining is None:
        return None
    length = _LENGTHS.get(name, 0.0)
    stamp = told.get("length") or shared.get("length")
    if stamp is not None:
        length = moment(stamp, now) or length
    for value in (told.get("limit", b""), told.get("remaining", b"")):
        window = next((one for name, one in _PARAMETER.findall(value) if name == b"w"), None)
        length = length or float(_count(window) or 0)
    stamp = told.get("reset") or shared.get("reset")
    reset = moment(stamp, now) if stamp is not None else None
    if reset is None:
        reset = length if name in _LENGTHS else -1.0
    return Reading(name, remaining, _count(told.get("limit")) or 0, reset, length)


def _count(value: bytes | None) -> int | None:
    """Return the number at the beginning; below zero (a vendor that counts on) is zero."""
    if value is None:
        return None
    text = value.strip()
    if text.startswith(b"-") and text[1:2].isdigit():
        return 0
    match = _NUMBER.match(text)
    return min(int(match[1]), MAX_COUNT) if match is not None else None


def _members(value: bytes) -> dict[str, Reading]:
    """Read ``RateLimit``."""
    old = dict(_OLD.findall(value))
    if b"remaining" in old:
        limit, reset = _count(old.get(b"limit")) or 0, _count(old.get(b"reset"))
        return {"": Reading("", _count(old[b"remaining"]) or 0, limit, -1.0 if reset is None else float(reset), 0.0)}
    found: dict[str, Reading] = {}
    for match in _MEMBER.finditer(value):
        parameters = dict(_PARAMETER.findall(match[3] or b""))
        remaining = _count(parameters.get(b"r"))
        if remaining is None:
            continue
        name = (match[1] or match[2] or b"").decode("latin-1")[:MAX_NAME]
        reset = _count(parameters.get(b"t"))
        found[name] = Reading(name, remaining, 0, -1.0 if reset is None else min(LONGEST, float(reset)), 0.0)
    return found


@functools.lru_cache(maxsize=64)
def _policies(value: bytes) -> dict[str, tuple[int, float]]:
    """Read ``RateLimit-Policy``: limit and length by name; quotas of anything but requests are left out."""
    found: dict[str, tuple[int, float]] = {}
    for match in _MEMBER.finditer(value):
        parameters = dict(_PARAMETER.findall(match[3] or b""))
        if b"q" in parameters and parameters.get(b"qu", b"requests") == b"requests":
            name = (match[1] or match[2] or b"").decode("latin-1")[:MAX_NAME]
            found[name] = (_count(parameters[b"q"]) or 0, float(_count(parameters.get(b"w")) or 0))
    old = _OLD_POLICY.findall(value) if not found else []
    if old:
        found[""] = (_count(old[0][0]) or 0, float(_count(old[0][1]) or 0))
    return found


def _with_policy(reading: Reading, policies: dict[str, tuple[int, float]]) -> Reading:
    limit, length = policies.get(reading.name, (0, 0.0))
    return reading._replace(limit=reading.limit or limit, length=reading.length or length)
