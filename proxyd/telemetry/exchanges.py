"""Exchanges and notices as maps for people and programs, and which of them are wanted.

Records are taken as control's intake leaves them: checked against their schema.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

from proxyd.core.events import ACCESS_SCHEMA, NOTICE_SCHEMA, Schema, Type
from proxyd.core.records import Values

TEXT_CHARACTERS: Final = 4096
"""The longest text of a field; what is over is cut."""

_REDACTED: Final = "?<redacted>"
_AT: Final = ACCESS_SCHEMA.place
_TIME, _SERVICE, _AUTHORITY, _METHOD = _AT["time"], _AT["service"], _AT["authority"], _AT["method"]
_PATH, _STATUS, _FLAGS, _CALLER = _AT["path"], _AT["status"], _AT["flags"], _AT["caller"]
_USER, _UID, _LISTENER = _AT["user"], _AT["uid"], _AT["listener"]


def _shape(schema: Schema) -> tuple[tuple[str, ...], list[str], list[str], list[str]]:
    """Return the names of all values, of bytes, of texts that may be too long, and of numbers."""
    binary = [one.name for one in schema.fields if one.type is Type.BYTES]
    long = [one.name for one in schema.fields if one.longest > TEXT_CHARACTERS]
    return schema.names, binary, long, [one.name for one in schema.fields if one.type is Type.NUMBER]


_SAYS_NOTHING: Final = (None, "1.1")
"""Values of later fields that the access log leaves out: `1.1` is the version of nearly every request."""
_LATER: Final = [one.name for one in ACCESS_SCHEMA.fields if one.since > 1]
_SHAPES: Final = {schema.id: _shape(schema) for schema in (ACCESS_SCHEMA, NOTICE_SCHEMA)}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges are wanted; a condition that is None asks for nothing."""

    service: str | None = None
    """A service's name; ``-`` is no service."""
    host: str | None = None
    """With or without its port."""
    method: str | None = None
    path: str | None = None
    """The path's beginning. The query is not looked at: it could be guessed letter by letter."""
    status: str | None = None
    """A status (``404``) or a class (``4xx``)."""
    caller: str | None = None
    """An address, with or without its port, or a user that passed proxy authentication."""
    uid: int | None = None
    listener: str | None = None
    since: float | None = None
    """Unix time."""
    errors: bool = False
    """Only those with status 400 or above, or with a response flag."""

    def matches(self, record: Values) -> bool:
        """Whether an ACCESS record is wanted."""
        if self.since is not None and record[_TIME] < self.since:
            return False
        if self.errors and record[_STATUS] < 400 and not record[_FLAGS]:
            return False
        return (
            (self.service is None or (record[_SERVICE] or "-") == self.service)
            and (self.method is None or record[_METHOD] == self.method.encode())
            and (self.uid is None or record[_UID] == self.uid)
            and (self.listener is None or record[_LISTENER] == self.listener)
            and (self.path is None or record[_PATH].partition(b"?")[0].startswith(self.path.encode()))
            and (self.status is None or _has_status(record[_STATUS], self.status))
            and (self.host is None or _is_address(record[_AUTHORITY], self.host.lower()))
            and (self.caller is None or record[_USER] == self.caller or _is_address(record[_CALLER], self.caller))
        )


def exchange_of(record: Values) -> dict[str, Any]:
    """Return an ACCESS record as the map of a line of the access log.

    As there, a query is never shown, bytes that are no UTF-8 are written as escapes, and fields that later versions of
    the schema appended are left out where they say nothing.
    """
    exchange = _named(ACCESS_SCHEMA, record)
    path, query, _ = exchange["path"].partition("?")
    if query:
        exchange["path"] = path + _REDACTED
    for name in _LATER:
        if exchange[name] in _SAYS_NOTHING:
            del exchange[name]
    return exchange


def notice_of(process: str, record: Values) -> dict[str, Any]:
    """Return a NOTICE record as a map that names the process."""
    return {**_named(NOTICE_SCHEMA, record), "process": process}


def _named(schema: Schema, record: Values) -> dict[str, Any]:
    """Return a record's values by name, in the form of the access log."""
    names, binary, long, numbers = _SHAPES[schema.id]
    named = dict(zip(names, record[1:], strict=True))
    for name in binary:
        named[name] = named[name][: TEXT_CHARACTERS + 1].decode("utf-8", "backslashreplace")
    for name in long:
        value = named[name]
        if value is not None and len(value) > TEXT_CHARACTERS:
            named[name] = value[:TEXT_CHARACTERS] + "…"
    for name in numbers:
        value = named[name]
        if value is not None:
            named[name] = round(value, 3)
    named["time"] = _iso(record[1])
    return named


def _iso(moment: float) -> str | None:
    try:
        milliseconds = int(moment * 1000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    except (ValueError, OverflowError, OSError):
        return None
    return f"{stamp}.{milliseconds % 1000:03d}Z"


def _has_status(status: int, wanted: str) -> bool:
    return str(status)[:1] == wanted[:1] if wanted[1:] == "xx" else str(status) == wanted


def _is_address(address: str, wanted: str) -> bool:
    """Whether ``host:port`` is ``wanted``, which may lack the port, or the brackets of IPv6."""
    if address == wanted:
        return True
    host, colon, _ = address.rpartition(":")
    return bool(colon) and wanted in (host, host.strip("[]"))
