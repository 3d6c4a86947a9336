"""Durations and sizes as people write them: ``250ms``, ``2s``, ``64KiB``; ValueError says what is wrong."""

import re
from typing import Final

from proxyd.core.units import DAY, GIB, HOUR, KIB, MIB, MILLISECOND, MINUTE

DURATION_UNITS: Final = {"ms": MILLISECOND, "s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}
SIZE_UNITS: Final = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}

DURATION_PATTERN: Final = r"^[0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h|d)$"
SIZE_PATTERN: Final = r"^[0-9]{1,12}(B|KiB|MiB|GiB)$"

_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([A-Za-zµ]*)", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]{1,12}) ?([A-Za-z]*)", re.ASCII)

_A_DURATION: Final = "a duration such as 250ms, 2s, 5m, 1h or 2d"
_A_SIZE: Final = "a size such as 64KiB, 1MiB or a number of bytes"


def duration(value: object) -> float:
    """Return seconds; ValueError when the unit is missing or unknown."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _mistake(f"a duration needs its unit: write {value}s", _A_DURATION)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _mistake("not a duration", _A_DURATION)
    number, unit = match.groups()
    if not unit:
        raise _mistake(f"a duration needs its unit: write {number}s", _A_DURATION)
    if unit not in DURATION_UNITS:
        guess = next((name for name in ("ms", "s", "m", "h", "d") if unit.lower().startswith(name)), "")
        raise _mistake("an unknown unit of time", _A_DURATION, number + guess if guess else "")
    return float(number) * DURATION_UNITS[unit]


def size(value: object) -> int:
    """Return bytes; ValueError when the unit is unknown."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _mistake("not a size", _A_SIZE)
    number, unit = match.groups()
    if unit not in SIZE_UNITS:
        guess = next((name for name in ("KiB", "MiB", "GiB") if unit[:1].upper() == name[0]), "")
        raise _mistake("an unknown unit of size", _A_SIZE, number + guess if guess else "")
    return int(number) * SIZE_UNITS[unit]


def duration_text(seconds: float) -> str:
    """Return ``seconds`` in the largest unit that divides it."""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(seconds, DURATION_UNITS[unit])
        if count and not rest:
            return f"{count:g}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


def size_text(count: int) -> str:
    """Return a number of bytes in the largest unit that divides it."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % SIZE_UNITS[unit] == 0:
            return f"{count // SIZE_UNITS[unit]}{unit}"
    return str(count)


def _mistake(what: str, expected: str, suggestion: str = "") -> ValueError:
    guess = f"; did you mean '{suggestion}'?" if suggestion else ""
    return ValueError(f"{what}; expected {expected}{guess}")
