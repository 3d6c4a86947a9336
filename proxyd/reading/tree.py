"""YAML text to plain values that remember where they stand.

libyaml reads the structure; this module makes the values, so that scalars follow the core schema of YAML 1.2
(``no`` and ``22:22`` are text, ``010`` is ten), keys are unique, tags are refused, and a file cannot grow by
aliases beyond a budget.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from proxyd.core.units import MIB
from proxyd.reading.problems import ConfigError, Place, Problem, Trail, field_name, nearest, shown

MAX_BYTES: Final = 8 * MIB
MAX_DEPTH: Final = 32
"""The deepest sensible file has nine levels."""
MAX_NODES: Final = 500_000
"""Values in one file, each use of an alias counted again (a thousand services have about 20,000)."""
MAX_DIGITS: Final = 18
MAX_HINTS: Final = 200
MAX_CHOICES: Final = 2000

_CONSTANTS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}  # YAML 1.2.2 §10.3.2
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

_PLAIN: Final = "plain"
_QUOTED: Final = "quoted"
_COLLECTION: Final = "collection"


class _Loader(yaml.CSafeLoader):
    """A loader whose only answers about untagged nodes are: plain or quoted scalar, or collection."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        if kind is not yaml.ScalarNode:
            return _COLLECTION
        return _PLAIN if implicit[0] else _QUOTED


@dataclass(slots=True)
class Tree:
    """What a file says, with the place of every value and key; ``problems`` are the mistakes of reading it."""

    file: str
    value: Any = None
    values: dict[Trail, Place] = field(default_factory=dict)
    keys: dict[Trail, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    hints: int = MAX_HINTS
    """Nearest names that may still be looked for: each compares with every name there is."""

    def add(self, trail: Trail, message: str, *, at_key: bool = False) -> None:
        """Report a mistake about the value at ``trail``; one that does not exist is placed at its nearest parent."""
        place = (self.keys.get(trail) if at_key else None) or self.values.get(trail)
        known = trail
        while place is None and known:
            known = known[:-1]
            place = self.keys.get(known) or self.values.get(known)
        place = place or Place(1, 1)
        self.problems.append(Problem(self.file, place.line, place.column, field_name(trail), message))

    def nearest(self, word: object, choices: Iterable[str]) -> str:
        """Return the one of ``choices`` that ``word`` was probably meant to be, or the empty string."""
        if self.hints <= 0:
            return ""
        self.hints -= 1
        return nearest(word, itertools.islice(choices, MAX_CHOICES))

    def line(self, trail: Trail) -> int:
        """Return the line on which the key or item at ``trail`` stands; 0 when it does not."""
        place = self.keys.get(trail) or self.values.get(trail)
        return place.line if place else 0


def read(text: str, file: str, least: str = "something") -> Tree:
    """Read YAML ``text``; ConfigError for what leaves nothing to look at, ``Tree.problems`` for the rest.

    ``least`` says what an empty file lacks.
    """
    tree = Tree(file)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise _refused(file, _place_of(text[: error.start]), "a lone surrogate is not text") from None
    if size > MAX_BYTES:
        raise _refused(file, Place(1, 1), f"the file has more than {MAX_BYTES // MIB} MiB")
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _refused(file, _mark_of(error), _words_of(error)) from None
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="replace")
        raise _refused(file, _place_of(before), f"{error.reason} (character #x{error.character:04x})") from None
    if node is None:
        raise _refused(file, Place(1, 1), f"the file is empty; {least} is needed")
    tree.value = _Construction(tree).value(node, ())
    return tree


class _Construction:
    """Makes plain values from libyaml's nodes, depth first, and notes where each stands."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._left = MAX_NODES

    def value(self, node: Any, trail: Trail) -> Any:
        mark = node.start_mark
        self._tree.values[trail] = Place(mark.line + 1, mark.column + 1)
        self._left -= 1
        if self._left < 0:
            self._tree.add(trail, f"the file has more than {MAX_NODES} values, aliases counted")
            raise ConfigError(self._tree.problems)
        if len(trail) > MAX_DEPTH:  # also ends an alias that contains itself
            self._tree.add(trail[:4], f"nested more than {MAX_DEPTH} deep, or an alias that contains itself")
            raise ConfigError(self._tree.problems)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, trail)
        if node.tag != _COLLECTION:
            self._refuse_tag(node, trail)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*trail, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, trail)

    def _mapping(self, node: Any, trail: Trail) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        keys = self._tree.keys
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            place = Place(mark.line + 1, mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(trail, place, "a key must be text, not a list or a map")
                continue
            key = key_node.value
            below = (*trail, key)
            if key_node.tag not in (_PLAIN, _QUOTED):
                self._complain(below, place, "tags are not accepted; remove what begins with '!'")
            if key in mapping:
                self._complain(below, place, f"the key is given twice, first on line {keys[below].line}")
                continue
            keys[below] = place
            mapping[key] = self.value(value_node, below)
        return mapping

    def _scalar(self, node: Any, trail: Trail) -> Any:
        text: str = node.value
        if node.tag == _QUOTED:
            return text
        if node.tag != _PLAIN:
            self._refuse_tag(node, trail)
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        first = text[0]
        if first.isalpha() or first == "/":  # nearly every scalar: no number begins so
            return text
        return self._number(text, trail)

    def _number(self, text: str, trail: Trail) -> Any:
        if len(text) > MAX_DIGITS and (_INTEGER.fullmatch(text) or _BASED.fullmatch(text)):
            self._tree.add(trail, f"the number has more than {MAX_DIGITS} digits")
            return 0
        if _INTEGER.fullmatch(text):
            return int(text)
        if _BASED.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _SPECIAL_FLOAT.fullmatch(text):
            return float(text.replace(".", "", 1))
        return text

    def _refuse_tag(self, node: Any, trail: Trail) -> None:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        self._tree.add(trail, f"tags are not accepted; remove '{shown(tag)}'")

    def _complain(self, trail: Trail, place: Place, message: str) -> None:
        tree = self._tree
        tree.problems.append(Problem(tree.file, place.line, place.column, field_name(trail), message))


def _refused(file: str, place: Place, message: str) -> ConfigError:
    return ConfigError([Problem(file, place.line, place.column, "", message)])


def _place_of(before: str) -> Place:
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _mark_of(error: yaml.MarkedYAMLError) -> Place:
    mark = error.problem_mark or error.context_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _words_of(error: yaml.MarkedYAMLError) -> str:
    words = [word for word in (error.context, error.problem) if word]
    begin, mark = error.context_mark, error.problem_mark
    if begin and mark and begin.line != mark.line and words[0].startswith("while"):
        words[0] += f" that begins on line {begin.line + 1}"
    text = "not YAML: " + ", ".join(words)
    if "cannot start any token" in text:
        text += " (a tab, '@', '`' or '%'? indent with spaces, put such text in quotes)"
    return text
