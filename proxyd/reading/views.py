"""Looks into a plain document that may be wrong anywhere: what has the wrong shape is not there.

Checks use these instead of models, so that one mistake does not hide another.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from proxyd.reading.problems import Mistake, Trail

T = TypeVar("T")


def has(value: Any, step: str | int) -> bool:
    """Whether a map or list has something at ``step``."""
    if isinstance(step, int):
        return isinstance(value, list) and 0 <= step < len(value)
    return isinstance(value, dict) and step in value


def child(value: Any, *keys: str) -> Any:
    """Return what stands below ``keys``, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def table(value: Any, *keys: str) -> dict[str, Any]:
    """Return the map below ``keys``, empty where there is none."""
    found = child(value, *keys)
    return found if isinstance(found, dict) else {}


def entries(value: Any, trail: Trail) -> Iterator[tuple[Trail, str, dict[str, Any]]]:
    """Yield (trail, name, map) for each entry of a map of maps."""
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, dict):
                yield (*trail, name), name, item


def items(value: Any, trail: Trail) -> Iterator[tuple[Trail, Any]]:
    """Yield (trail, item) for each item of a list; a single value is a list of one."""
    if isinstance(value, list):
        yield from (((*trail, index), item) for index, item in enumerate(value))
    elif value is not None and not isinstance(value, dict):
        yield trail, value


def maps(value: Any, trail: Trail) -> Iterator[tuple[Trail, dict[str, Any]]]:
    """Yield (trail, map) for each map in a list."""
    if isinstance(value, list):
        yield from (((*trail, index), item) for index, item in enumerate(value) if isinstance(item, dict))


def parsed(parse: Callable[[object], T], value: object) -> T | None:
    """Return what ``parse`` makes of ``value``, or None where it cannot: that is reported elsewhere."""
    try:
        return parse(value)
    except Mistake:
        return None
