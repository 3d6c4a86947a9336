"""Frozen dataclasses to plain values (what msgpack carries) and back, checked field by field.

The reading side trusts nothing: a missing, surplus or mistyped field is a ValueError that names its place.
"""

import dataclasses
import enum
import functools
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Return ``value`` as dicts, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, name)) for name in _fields(type(value))}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(kind: type[T], data: Any, where: str = "") -> T:
    """Build a ``kind`` from plain ``data``; ValueError names the place of the first mismatch."""
    return typing.cast(T, _read(kind, data, where or kind.__name__))


@functools.cache
def _fields(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {spec.name: hints[spec.name] for spec in dataclasses.fields(kind)}


@functools.cache
def _required(kind: type) -> frozenset[str]:
    missing = dataclasses.MISSING
    return frozenset(
        spec.name for spec in dataclasses.fields(kind) if spec.default is missing and spec.default_factory is missing
    )


def _read(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return data
    origin = typing.get_origin(kind)
    if origin is types.UnionType or origin is typing.Union:
        return _read_union(typing.get_args(kind), data, where)
    if origin is tuple or origin is list:
        return _read_sequence(kind, origin, data, where)
    if origin is dict:
        return _read_dict(kind, data, where)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), data, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            raise ValueError(f"{where}: not a {kind.__name__}") from None
    if kind is float and type(data) is int:
        return float(data)
    if kind is type(None):
        kind = types.NoneType
    if type(data) is not kind:
        raise ValueError(f"{where}: expected {kind.__name__}, got {type(data).__name__}")
    return data


def _read_union(choices: tuple[Any, ...], data: Any, where: str) -> Any:
    problem = None
    for choice in choices:
        if choice is type(None) and data is None:
            return None
        try:
            return _read(choice, data, where)
        except ValueError as error:
            problem = problem or error
    raise problem or ValueError(f"{where}: no choice fits")


def _read_sequence(kind: Any, origin: type, data: Any, where: str) -> Any:
    if not isinstance(data, list | tuple):
        raise ValueError(f"{where}: expected a list, got {type(data).__name__}")
    arguments = typing.get_args(kind)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is ...):
        if len(arguments) != len(data):
            raise ValueError(f"{where}: expected {len(arguments)} items, got {len(data)}")
        return tuple(
            _read(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(arguments, data, strict=True))
        )
    return origin(_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))


def _read_dict(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected a map, got {type(data).__name__}")
    key_kind, value_kind = typing.get_args(kind)
    return {_read(key_kind, key, where): _read(value_kind, value, f"{where}[{key!r}]") for key, value in data.items()}


def _read_dataclass(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected a map, got {type(data).__name__}")
    fields = _fields(kind)
    surplus = data.keys() - fields.keys()
    if surplus:
        raise ValueError(f"{where}: unknown field {min(map(str, surplus))}")
    absent = _required(kind) - data.keys()
    if absent:
        raise ValueError(f"{where}: missing field {min(absent)}")
    return kind(**{name: _read(fields[name], item, f"{where}.{name}") for name, item in data.items()})
