"""Options of a plugin: a dataclass says what may stand there, and plain values from the configuration are read by it.

Types are ``str``, ``int``, ``float``, ``bool``, ``Literal[…]`` of words, ``Duration`` (``250ms``, ``5s``, ``2m``),
``Size`` (``64KiB``), ``SecretName``, ``tuple[X, ...]``, ``dict[str, X]``, a dataclass of these, and ``X | None`` with
the default None. A field without a default must be given. ``__post_init__`` may raise ValueError with what is wrong
and what to do.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from proxyd.core import quantities

T = TypeVar("T")
Trail = tuple[str | int, ...]

_WORDS: Final[dict[type, str]] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class SecretName(str):
    """The name of a secret under ``secrets``; Host.secret returns its value."""

    __slots__ = ()


class Duration(float):
    """Seconds; written with a unit, as everywhere in a configuration."""

    __slots__ = ()


class Size(int):
    """Bytes; written as a number or with a unit."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a plugin that has none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one value."""

    trail: Trail
    """Keys and indexes that lead to it."""
    message: str


class OptionsError(ValueError):
    """Options that are not used; ``mistakes`` holds every one of them."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(f"{_path(mistake.trail)}{mistake.message}" for mistake in mistakes))
        self.mistakes = mistakes


def read_options(kind: type[T], plain: dict[str, Any]) -> T:
    """Return ``plain`` as a ``kind``; OptionsError says everything that is wrong, without quoting a value."""
    mistakes: list[Mistake] = []
    try:
        options = _map(kind, plain, (), mistakes)
    except (TypeError, NameError, KeyError) as error:
        mistakes.append(Mistake((), f"the plugin's options have a type that cannot be read ({error})"))
    if mistakes:
        raise OptionsError(mistakes)
    return typing.cast(T, options)


def secret_names(options: Any) -> frozenset[str]:
    """Return the secrets that ``options`` name."""
    return frozenset(str(name) for _, name in secret_places(options))


def secret_places(options: Any, trail: Trail = ()) -> Iterator[tuple[Trail, SecretName]]:
    """Yield each SecretName in ``options`` and where it stands."""
    if isinstance(options, SecretName):
        yield trail, options
    elif dataclasses.is_dataclass(options) and not isinstance(options, type):
        for spec in dataclasses.fields(options):
            yield from secret_places(getattr(options, spec.name), (*trail, spec.name))
    elif isinstance(options, tuple):
        for index, item in enumerate(options):
            yield from secret_places(item, (*trail, index))
    elif isinstance(options, dict):
        for key, item in options.items():
            yield from secret_places(item, (*trail, key))


def _map(kind: Any, value: Any, trail: Trail, mistakes: list[Mistake]) -> Any:
    if not isinstance(value, dict):
        mistakes.append(Mistake(trail, "a map is expected here"))
        return None
    hints = typing.get_type_hints(kind)
    specs = {spec.name: spec for spec in dataclasses.fields(kind) if spec.init}
    before = len(mistakes)
    mistakes += [Mistake((*trail, key), _unknown(key, list(specs))) for key in value if key not in specs]
    for name, spec in specs.items():
        optional = spec.default is not dataclasses.MISSING or spec.default_factory is not dataclasses.MISSING
        if name not in value and not optional:
            mistakes.append(Mistake((*trail, name), "the key is missing"))
    read = {key: _value(hints[key], item, (*trail, key), mistakes) for key, item in value.items() if key in specs}
    if len(mistakes) > before:
        return None
    try:
        return kind(**read)
    except ValueError as error:
        mistakes.append(Mistake(trail, str(error)))
        return None


def _value(hint: Any, value: Any, trail: Trail, mistakes: list[Mistake]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (choice for choice in arguments if choice is not types.NoneType)
        return _value(inner, value, trail, mistakes)
    if dataclasses.is_dataclass(hint):
        return _map(hint, value, trail, mistakes)
    if origin is tuple:
        return tuple(_items(arguments[0], value, trail, mistakes))
    if origin is dict:
        return _names(arguments[1], value, trail, mistakes)
    return _scalar(hint, value, lambda message: mistakes.append(Mistake(trail, message)))


def _items(hint: Any, value: Any, trail: Trail, mistakes: list[Mistake]) -> Iterator[Any]:
    if not isinstance(value, list):
        mistakes.append(Mistake(trail, "a list is expected here"))
        return
    for index, item in enumerate(value):
        yield _value(hint, item, (*trail, index), mistakes)


def _names(hint: Any, value: Any, trail: Trail, mistakes: list[Mistake]) -> dict[str, Any]:
    if not isinstance(value, dict):
        mistakes.append(Mistake(trail, "a map is expected here"))
        return {}
    return {key: _value(hint, item, (*trail, key), mistakes) for key, item in value.items()}


def _scalar(hint: Any, value: Any, refuse: Callable[[str], None]) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        words = typing.get_args(hint)
        if value not in words:
            refuse(f"not a known word; expected one of {', '.join(map(str, words))}")
        return value
    if hint is SecretName:
        if not isinstance(value, str) or not value:
            refuse("the name of a secret is expected here")
            return SecretName()
        return SecretName(value)
    if hint is Duration or hint is Size:
        return _quantity(hint, value, refuse)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        refuse(f"{_WORDS[hint]} is expected here")
    return value


def _quantity(hint: type[Duration] | type[Size], value: Any, refuse: Callable[[str], None]) -> Duration | Size:
    try:
        return Duration(quantities.duration(value)) if hint is Duration else Size(quantities.size(value))
    except ValueError as error:
        refuse(str(error))
        return hint(0)


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(str(key)[:128], known, 1)
    guess = f"; did you mean '{close[0]}'?" if close else ""
    return f"unknown option; there are {', '.join(known)}{guess}" if known else "the plugin has no options"


def _path(trail: Trail) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in trail).lstrip(".")
    return f"{text}: " if text else ""
