"""Cache-Control and dates, read as RFC 9111 §4.2.1 and §5.2 say: what cannot be understood makes an answer stale."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_tz
from functools import lru_cache
from typing import Final

from proxyd.core.headers import Headers, first

Directives = dict[bytes, bytes | None]
"""Directive names, lower case, to their arguments, unquoted; None where there is none."""

MAX_DATE: Final = 40
"""Bytes of a date that is remembered: the longest form has 33."""
REMEMBERED: Final = 512
"""Dates; many answers have the same one within a second."""

OVERFLOW: Final = 2**31
"""Seconds beyond this are this many (RFC 9111 §1.2.2)."""

_DIRECTIVE: Final = re.compile(
    rb"""[ \t,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^ \t,;"]*)))?[ \t]*""", re.DOTALL
)
_DIGITS: Final = re.compile(rb"[0-9]+").fullmatch


def cache_control(headers: Headers) -> Directives:
    """Return the directives of all Cache-Control fields; of one that is repeated the first counts (RFC 9111 §4.2.1)."""
    found: Directives = {}
    for field, value in headers:
        if field != b"cache-control":
            continue
        at = 0
        while at < len(value):
            match = _DIRECTIVE.match(value, at)
            if match is None:
                at = _next_member(value, at)
                continue
            name, quoted, token = match.groups()
            argument = re.sub(rb"\\(.)", rb"\1", quoted) if quoted is not None else token
            found.setdefault(name.lower(), argument)
            at = match.end()
            if at < len(value) and value[at : at + 1] != b",":
                at = _next_member(value, at)
    return found


def _next_member(value: bytes, at: int) -> int:
    comma = value.find(b",", at)
    return len(value) if comma < 0 else comma + 1


def seconds(directives: Directives, name: bytes) -> int | None:
    """Return the seconds of a directive: None where it is absent, 0 where its argument is no number (§4.2.1)."""
    if name not in directives:
        return None
    argument = directives[name]
    if argument is None or not _DIGITS(argument):
        return 0
    return min(int(argument[:12]), OVERFLOW) if len(argument.lstrip(b"0")) < 12 else OVERFLOW


def names(argument: bytes | None) -> frozenset[bytes]:
    """Return the field names in the argument of ``no-cache`` or ``private``."""
    if argument is None:
        return frozenset()
    return frozenset(filter(None, (name.strip().lower() for name in argument.split(b","))))


def date(headers: Headers, field: bytes) -> float | None:
    """Return a date field as Unix seconds; None where it is absent or no date."""
    value = first(headers, field)
    return None if value is None else parse_date(value)


def parse_date(value: bytes) -> float | None:
    """Return Unix seconds of any of the three forms of HTTP-date (RFC 9110 §5.6.7), None of anything else."""
    return _remembered(value) if len(value) <= MAX_DATE else _parsed(value)


def _parsed(value: bytes) -> float | None:
    try:
        parts = parsedate_tz(value.decode("ascii"))
    except (ValueError, IndexError, TypeError):
        return None
    if parts is None or parts[0] < 1 or parts[9] not in (0, None):
        return None
    try:
        return datetime(*parts[:6], tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


_remembered: Final = lru_cache(REMEMBERED)(_parsed)
