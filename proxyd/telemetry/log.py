"""The daemon's log: events with fields on standard error, as JSON lines, or as text where a person looks on.

Lines are printable ASCII whatever was put in, so a client's bytes never drive a terminal.
"""

import enum
import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from proxyd.core.events import NOTICE

FIELD_CHARACTERS: Final = 8192
"""The longest value of one field; what is over is cut."""

_COLOURS: Final = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_RESET: Final = "\x1b[0m"


class Level(enum.IntEnum):
    """How much an operator should care."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Log:
    """Writes one line per event to ``descriptor``; an event below ``level`` costs one comparison.

    ``process`` stands in every line (``supervisor``, ``control``, ``worker-0``). ``human`` None: text if the
    descriptor is a terminal, else JSON.
    """

    def __init__(
        self, process: str, *, descriptor: int = 2, level: Level = Level.INFO, human: bool | None = None
    ) -> None:
        self.process = process
        self.level = level
        self._descriptor = descriptor
        self._human = os.isatty(descriptor) if human is None else human

    def debug(self, event: str, **fields: object) -> None:
        """For whoever looks for a fault in proxyd."""
        self.write(Level.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """The daemon did what it was told."""
        self.write(Level.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Traffic goes on, yet somebody should look."""
        self.write(Level.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something that was asked for does not happen."""
        self.write(Level.ERROR, event, fields)

    def write(self, level: Level, event: str, fields: Mapping[str, object]) -> None:
        """Write one event. A standard error that cannot be written to loses the line: there is nowhere to say so."""
        if level < self.level:
            return
        now = datetime.fromtimestamp(time.time(), UTC)
        line = (_text if self._human else _json)(now, level.name.lower(), self.process, event, fields)
        try:
            os.write(self._descriptor, line)
        except OSError:
            return

    def notice(self, process: str, record: Sequence[object]) -> bool:
        """Write a worker's NOTICE record (core.events); False when it is malformed."""
        match record:
            case [int(schema), int() | float(), str(level), str(name), str(detail)] if schema == NOTICE:
                known = Level.__members__.get(level.upper(), Level.INFO)
                self.write(known, name, {"from": process, "detail": detail})
                return True
        return False


def _json(now: datetime, level: str, process: str, event: str, fields: Mapping[str, object]) -> bytes:
    stamp = now.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    record: dict[str, object] = {"time": stamp, "level": level, "process": process, "event": event}
    record.update((name, _value(value)) for name, value in fields.items())
    return json.dumps(record, separators=(",", ":")).replace("\x7f", "\\u007f").encode() + b"\n"


def _text(now: datetime, level: str, process: str, event: str, fields: Mapping[str, object]) -> bytes:
    colour = _COLOURS.get(level, "")
    words = " ".join(f"{name}={_word(value)}" for name, value in fields.items())
    line = f"{now.astimezone():%H:%M:%S} {level:<7} {process}: {_printable(event)}"
    return f"{colour}{line}{_RESET if colour else ''}{' ' if words else ''}{words}\n".encode()


def _value(value: object) -> Any:
    """Return what JSON carries of a field; anything that is not plain becomes its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = str(value)
    return text if len(text) <= FIELD_CHARACTERS else text[:FIELD_CHARACTERS] + "…"


def _word(value: object) -> str:
    plain = _value(value)
    text = _printable(plain if isinstance(plain, str) else json.dumps(plain))
    return json.dumps(text) if not text or " " in text or "=" in text else text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else c.encode("unicode_escape").decode() for c in text)
