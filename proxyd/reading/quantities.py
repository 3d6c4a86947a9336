"""Durations and sizes in a configuration file (core.quantities), their mistakes as mistakes of the file."""

from proxyd.core import quantities
from proxyd.core.quantities import (
    DURATION_PATTERN,
    DURATION_UNITS,
    SIZE_PATTERN,
    SIZE_UNITS,
    duration_text,
    size_text,
)
from proxyd.reading.problems import Mistake

__all__ = [
    "DURATION_PATTERN",
    "DURATION_UNITS",
    "SIZE_PATTERN",
    "SIZE_UNITS",
    "duration",
    "duration_text",
    "size",
    "size_text",
]


def duration(value: object) -> float:
    """Return seconds; Mistake when the unit is missing or unknown."""
    try:
        return quantities.duration(value)
    except ValueError as error:
        raise Mistake(str(error)) from None


def size(value: object) -> int:
    """Return bytes; Mistake when the unit is unknown."""
    try:
        return quantities.size(value)
    except ValueError as error:
        raise Mistake(str(error)) from None
