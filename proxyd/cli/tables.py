"""Plain values as text for a person: key-value lines and tables.

The unit stands in a field's name (``_bytes``, ``_seconds``, ``_ms``), so it decides how a number is written. Nothing
unprintable is let through: names and hosts may have been chosen by a client.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_INLINE: Final = 5
_INDENT: Final = "  "
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def render(value: Any, empty: str = "nothing") -> str:
    """Return ``value`` as lines; ``empty`` is the word for an empty list."""
    return "\n".join(_lines(value, empty)) + "\n"


def printable(text: str) -> str:
    """Return ``text`` with everything that is not a visible character or a space escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def cell(name: str, value: Any) -> str:
    """Return one value on one line, in the unit that its name ends with."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(name, value)
    if isinstance(value, Mapping):
        if len(value) == 2 and next(iter(value)) == "name":
            thing, what = value.items()
            return f"{cell(*thing)} ({cell(*what)})"
        return " ".join(f"{printable(str(key))}={cell(str(key), item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(name, item) for item in value)
    return printable(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return rows under the headings of all their keys; numbers stand to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    right = {name for name in names if _are_numbers([row.get(name) for row in rows])}
    grid = [[_heading(name) for name in names]]
    grid += [[cell(name, row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in grid) for column in range(len(names))]
    return [
        "  ".join(
            text.rjust(width) if name in right else text.ljust(width)
            for name, text, width in zip(names, line, widths, strict=True)
        ).rstrip()
        for line in grid
    ]


def _lines(value: Any, empty: str) -> list[str]:
    if isinstance(value, Mapping):
        return list(_mapping(value))
    if isinstance(value, list | tuple):
        if not value:
            return [empty]
        if all(isinstance(item, Mapping) for item in value):
            return table(value)
        return [cell("", item) for item in value]
    return [cell("", value)]


def _mapping(value: Mapping[str, Any]) -> Iterable[str]:
    flat = {name: item for name, item in value.items() if not _is_section(item)}
    width = max((len(_label(name)) for name in flat), default=0)
    for name, item in flat.items():
        yield f"{_label(name).ljust(width)}  {cell(name, item)}"
    for name, item in value.items():
        if _is_section(item):
            yield ""
            yield f"{_label(name)}:"
            yield from (_INDENT + line for line in _lines(item, ""))


def _is_section(value: Any) -> bool:
    """Whether a value of a map is too much for the map's own line."""
    if isinstance(value, Mapping):
        return len(value) > _INLINE
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(item, Mapping) for item in value) or (len(value) > 1 and any(map(_is_sentence, value)))


def _is_sentence(value: Any) -> bool:
    return isinstance(value, str) and " " in value


def _are_numbers(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)


def _label(name: str) -> str:
    for unit in ("_bytes", "_seconds"):
        name = name.removesuffix(unit)
    return printable(str(name)).replace("_", " ")


def _heading(name: str) -> str:
    return _label(name).upper()


def _number(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return _size(value)
    if name.endswith("_seconds"):
        return _span(value)
    return str(value) if isinstance(value, int) else f"{value:.3f}".rstrip("0").rstrip(".")


def _size(value: float) -> str:
    for unit in _SIZES:
        if abs(value) < 1024 or unit == _SIZES[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _span(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    left, parts = int(seconds), []
    for size, unit in _SPANS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
