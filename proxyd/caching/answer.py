"""What a client gets from a kept answer: all of it, a part (RFC 9110 §14), or 304."""

import re
from typing import Final, NamedTuple

from proxyd.caching.directives import date, parse_date
from proxyd.caching.policy import Entry, is_not_modified
from proxyd.core.headers import Headers, every, first

MAX_RANGES: Final = 1
"""Of several ranges the whole is sent, which RFC 9110 §14.2 allows."""

_RANGE: Final = re.compile(rb"bytes[ \t]*=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE).fullmatch
_WITH_304: Final = frozenset(
    {b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"last-modified"}
)


class Answer(NamedTuple):
    """Status, fields without Age and Cache-Status, and body."""

    status: int
    headers: Headers
    body: bytes


def answer(entry: Entry, request: Headers) -> Answer:
    """Return what a request for an entry gets."""
    if is_not_modified(entry, request):
        return Answer(304, [item for item in entry.headers if item[0] in _WITH_304], b"")
    asked = every(request, b"range")
    if len(asked) == 1 and entry.status == 200 and _if_range(entry, request):
        part = _part(asked[0], len(entry.body))
        if part is not None:
            return _partial(entry, *part)
    return Answer(entry.status, entry.headers, entry.body)


def _if_range(entry: Entry, request: Headers) -> bool:
    """RFC 9110 §13.1.5: a strong tag, or a date that is exactly Last-Modified's and strong by a second."""
    condition = first(request, b"if-range")
    if condition is None:
        return True
    if condition.endswith(b'"'):
        return not condition.startswith(b"W/") and condition == first(entry.headers, b"etag")
    modified = date(entry.headers, b"last-modified")
    made = date(entry.headers, b"date")
    return modified is not None and parse_date(condition) == modified and made is not None and made - modified >= 1


def _part(value: bytes, size: int) -> tuple[int, int] | None:
    """Return start and end; (size, size) where nothing of it is there, None for what is not served in part."""
    match = _RANGE(value)
    if match is None:
        return None
    start, end = match.groups()
    if len(start) > 18 or len(end) > 18 or (not start and not end):
        return None
    if not start:
        length = min(int(end), size)
        return (size - length, size) if length else (size, size)
    if end and int(end) < int(start):
        return None
    if int(start) >= size:
        return (size, size)
    return (int(start), min(int(end) + 1, size) if end else size)


def _partial(entry: Entry, start: int, end: int) -> Answer:
    size = len(entry.body)
    headers = [item for item in entry.headers if item[0] not in (b"content-length", b"content-range")]
    if start >= end:
        return Answer(416, [(b"content-range", b"bytes */%d" % size)], b"")
    headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
    return Answer(206, headers, entry.body[start:end])
