"""Mistakes in a configuration: each with its place, all reported at once.

A message never quotes a value: what stands in a file of secrets' names may be a secret that was put in the
wrong place. The line and column say which value is meant.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

Trail = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""

MAX_PROBLEMS: Final = 500
"""More than anyone mends in one sitting; the rest is counted."""

_MAX_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the text, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, which field it is about, what is wrong and what to do."""

    file: str
    line: int
    column: int
    field: str
    """Such as ``services.tickets.auth.secret`` or ``listeners[0].address``; empty for the whole file."""
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}:{self.column}: {field}{self.message}"


class ConfigError(Exception):
    """A configuration that is not used. ``problems`` holds every mistake in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))
        self.problems = found[:MAX_PROBLEMS]
        self.left_out = len(found) - len(self.problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if self.left_out:
            lines.append(f"… and {self.left_out} more")
        return "\n".join(lines)


class Mistake(ValueError):
    """What is wrong with one value, raised where it is read; its place is added by who knows it."""

    def __init__(self, what: str, expected: str = "", suggestion: str = "") -> None:
        super().__init__(describe(what, expected, suggestion))


def describe(what: str, expected: str = "", suggestion: str = "") -> str:
    """Return the message ``what; expected …; did you mean 'x'?``."""
    parts = [what]
    if expected:
        parts.append(f"expected {expected}")
    if suggestion:
        parts.append(f"did you mean '{suggestion}'?")
    return "; ".join(parts)


def nearest(word: object, choices: Iterable[str]) -> str:
    """Return the one of ``choices`` that ``word`` was probably meant to be, or the empty string."""
    if not isinstance(word, str) or len(word) > 4 * _MAX_NAME:
        return ""
    folded = {choice.casefold().replace("-", "_"): choice for choice in choices}
    close = difflib.get_close_matches(word.casefold().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def field_name(trail: Sequence[str | int]) -> str:
    """Return ``trail`` as people write it: ``access.rules[2].allow``."""
    text = ""
    for step in trail:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + shown(step)
    return text


def shown(name: str) -> str:
    """Return a name from the file fit for one line of a message: printable and not too long."""
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name[:_MAX_NAME])
    return printable + ("…" if len(name) > _MAX_NAME else "")


def kind_of(value: object) -> str:
    """Return what a plain value is, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a map"
