"""What an admin method is: its name, its parameters, who may call it, and how a call's parameters are read."""

import difflib
import enum
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxyd.admin.role import Role
from proxyd.admin.session import Session
from proxyd.core.refusal import Refusal

TEXT_CHARACTERS: Final = 4096
"""The longest text of a parameter that names no other bound."""
VALUE_BYTES: Final = 64 * 1024
"""The longest value of kind ``bytes``."""
LIST_ITEMS: Final = 64


class Kind(enum.Enum):
    """What a parameter is; the value stands in the reference."""

    TEXT = "text"
    BYTES = "bytes"
    """Bytes, or text in UTF-8."""
    WHOLE = "whole number"
    NUMBER = "number"
    FLAG = "true or false"
    TEXTS = "list of texts"


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; without ``required`` it may be left out or be nil."""

    name: str
    kind: Kind
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int = 0
    """Of a number, or of a text's characters."""
    most: int = 0
    """Of a number, or of a text's characters; 0: no bound beyond the kind's own."""
    role: Role = Role.READER
    """Who may give it."""

    def read(self, value: Any) -> Any:
        """Return the value to use. Refusal: it is not one."""
        problem = _problem(self, value)
        if problem:
            raise Refusal("invalid_params", f"{self.name}: {problem}", _nearest(value, self.choices))
        return value.encode() if self.kind is Kind.BYTES and isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Method:
    """One admin method. ``call`` gets the session and the given parameters by name."""

    name: str
    help: str
    """What it does, on one line."""
    result: str
    """What comes back, for the reference."""
    call: Callable[..., Awaitable[Any]]
    params: tuple[Param, ...] = ()
    role: Role = Role.READER
    seconds: float = 60.0
    """The longest that it may take. A reload runs the commands of its secrets, 10 s each by default, side by side."""

    async def __call__(self, session: Session, params: Sequence[Any]) -> Any:
        """Check the caller's role and the parameters, and call. Refusal."""
        if self.role is Role.FULL:
            session.demand_full(self.name)
        values = self.read(params)
        for param in self.params:
            if param.role is Role.FULL and param.name in values:
                session.demand_full(f"{self.name} with {param.name}")
        return await self.call(session, **values)

    def read(self, params: Sequence[Any]) -> dict[str, Any]:
        """Return parameters by name, those left out or nil left out.

        They come in the table's order, or as one map of names. Refusal: something is wrong with them.
        """
        if len(params) == 1 and isinstance(params[0], dict):
            given = self._by_name(params[0])
        elif len(params) > len(self.params):
            takes = ", ".join(param.name for param in self.params) or "no parameters"
            raise Refusal("invalid_params", f"{self.name} takes {takes}; got {len(params)} values")
        else:
            given = {param.name: value for param, value in zip(self.params, params, strict=False)}
        values = {}
        for param in self.params:
            value = given.get(param.name)
            if value is not None:
                values[param.name] = param.read(value)
            elif param.required:
                raise Refusal("invalid_params", f"{self.name}: {param.name} is missing: {param.help}")
        return values

    def _by_name(self, given: dict[Any, Any]) -> dict[str, Any]:
        names = [param.name for param in self.params]
        for name in given:
            if name not in names:
                known = f"it takes {', '.join(names)}" if names else "it takes none"
                text = str(name)[:64]
                raise Refusal("invalid_params", f"there is no parameter {text!r}; {known}", _nearest(name, names))
        return given

    def describe(self) -> dict[str, Any]:
        """Return the method in plain values, for ``methods``."""
        params = [
            {
                "name": param.name,
                "kind": param.kind.value,
                "required": param.required,
                "help": param.help,
                **({"choices": list(param.choices)} if param.choices else {}),
            }
            for param in self.params
        ]
        return {"name": self.name, "help": self.help, "role": self.role.value, "params": params}


def _problem(param: Param, value: Any) -> str:
    match param.kind:
        case Kind.TEXT:
            return _text_problem(param, value)
        case Kind.BYTES:
            if not isinstance(value, bytes | str):
                return f"expected bytes or text, got {_name(value)}"
            return f"longer than {VALUE_BYTES} bytes" if len(value) > VALUE_BYTES else ""
        case Kind.WHOLE if type(value) is not int:
            return f"expected a whole number, got {_name(value)}"
        case Kind.NUMBER if type(value) not in (int, float) or not math.isfinite(value):
            return f"expected a number, got {_name(value)}"
        case Kind.WHOLE | Kind.NUMBER:
            return _range_problem(param, value)
        case Kind.FLAG:
            return "" if isinstance(value, bool) else f"expected true or false, got {_name(value)}"
        case Kind.TEXTS:
            if not isinstance(value, list) or len(value) > LIST_ITEMS:
                return f"expected a list of {LIST_ITEMS} texts at most, got {_name(value)}"
            return next((problem for item in value if (problem := _text_problem(param, item))), "")


def _text_problem(param: Param, value: Any) -> str:
    most = param.most or TEXT_CHARACTERS
    if not isinstance(value, str):
        return f"expected a text, got {_name(value)}"
    if param.choices and value not in param.choices:
        return f"expected {' or '.join(param.choices)}, got {value[:64]!r}"
    if not param.least <= len(value) <= most:
        return f"expected {param.least} to {most} characters, got {len(value)}"
    return ""


def _range_problem(param: Param, value: float) -> str:
    if param.most and not param.least <= value <= param.most:
        return f"expected {param.least} to {param.most}, got {value}"
    return f"expected {param.least} or more, got {value}" if value < param.least else ""


def _name(value: Any) -> str:
    """Return how people call a value's type; never the value, which may be a secret in the wrong place."""
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", bytes: "bytes", int: "a whole number", float: "a number", list: "a list", dict: "a map"}
    return names.get(type(value), type(value).__name__)


def _nearest(name: Any, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(str(name)[:64], list(known), 1)), None)
