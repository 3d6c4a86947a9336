"""How the models read one value: pydantic annotations around the functions that know the forms.

Each carries its JSON schema, so that the exported schema and the reference say what is accepted.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from proxyd.core.units import GIB
from proxyd.reading.problems import Mistake, kind_of
from proxyd.reading.quantities import DURATION_PATTERN, SIZE_PATTERN, duration, duration_text, size, size_text

PERCENT_PATTERN: Final = r"^[0-9]{1,5}(\.[0-9]{1,3})?%$"
QUANTILE_PATTERN: Final = r"^p[5-9][0-9](\.[0-9]{1,2})?$"
_QUANTILE: Final = re.compile(r"p([5-9][0-9](?:\.[0-9]{1,2})?)", re.ASCII)
_PERCENT: Final = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?) ?%", re.ASCII)


class Reader(ABC):
    """A value that ``read`` turns from its plain form into what the daemon uses; Mistake when it cannot."""

    @abstractmethod
    def read(self, value: Any) -> Any:
        """Return the value in use."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the plain form."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.schema()


@dataclass(frozen=True)
class Text(Reader):
    """Text in a form of its own; ``form`` names it in the reference."""

    parse: Callable[[object], Any]
    form: str
    pattern: str = ""

    def read(self, value: Any) -> Any:
        """Return what ``parse`` makes of the value."""
        return self.parse(value)

    def schema(self) -> dict[str, Any]:
        """Return a string's schema with its form."""
        return {"type": "string", "format": self.form} | ({"pattern": self.pattern} if self.pattern else {})


@dataclass(frozen=True)
class Seconds(Reader):
    """A duration within bounds."""

    low: float
    high: float

    def read(self, value: Any) -> float:
        """Return seconds."""
        seconds = duration(value)
        if not self.low <= seconds <= self.high:
            raise Mistake("out of range", f"{duration_text(self.low)} to {duration_text(self.high)}")
        return seconds

    def schema(self) -> dict[str, Any]:
        """Return the schema; the bounds are told in words, a schema cannot compare units."""
        bounds = f"{duration_text(self.low)} to {duration_text(self.high)}"
        return {"type": "string", "format": "duration", "pattern": DURATION_PATTERN, "x-range": bounds}


@dataclass(frozen=True)
class Bytes(Reader):
    """A size within bounds."""

    low: int
    high: int = 16 * GIB

    def read(self, value: Any) -> int:
        """Return bytes."""
        count = size(value)
        if not self.low <= count <= self.high:
            raise Mistake("out of range", f"{size_text(self.low)} to {size_text(self.high)}")
        return count

    def schema(self) -> dict[str, Any]:
        """Return the schema of a number of bytes or a size with its unit."""
        forms = [
            {"type": "integer", "minimum": self.low, "maximum": self.high},
            {"type": "string", "pattern": SIZE_PATTERN},
        ]
        return {"anyOf": forms, "format": "size", "x-range": f"{size_text(self.low)} to {size_text(self.high)}"}


@dataclass(frozen=True)
class Whole(Reader):
    """A whole number within bounds, or one of ``words``, which stand for the numbers they map to."""

    low: int
    high: int
    word: str = ""
    word_value: int = 0

    def read(self, value: Any) -> int:
        """Return the number."""
        if self.word and value == self.word:
            return self.word_value
        if type(value) is not int:
            raise Mistake(f"{kind_of(value)} stands here", self._expected())
        if not self.low <= value <= self.high:
            raise Mistake("out of range", self._expected())
        return value

    def schema(self) -> dict[str, Any]:
        """Return the schema of the number, and of the word where there is one."""
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, {"const": self.word}]} if self.word else number

    def _expected(self) -> str:
        return f"a whole number from {self.low} to {self.high}" + (f", or '{self.word}'" if self.word else "")


@dataclass(frozen=True)
class Share(Reader):
    """A percentage within bounds, such as ``20%``."""

    low: int
    high: int

    def read(self, value: Any) -> float:
        """Return the share, 1.0 for 100%."""
        match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise Mistake("not a percentage", "a percentage such as 20%")
        number = float(match[1])
        if not self.low <= number <= self.high:
            raise Mistake("out of range", f"{self.low}% to {self.high}%")
        return number / 100

    def schema(self) -> dict[str, Any]:
        """Return the schema; the bounds are told in words."""
        bounds = f"{self.low}% to {self.high}%"
        return {"type": "string", "format": "percentage", "pattern": PERCENT_PATTERN, "x-range": bounds}


@dataclass(frozen=True)
class QuantileOrSeconds(Reader):
    """A quantile such as ``p97``, read as 0.97, or a duration, read as negative seconds."""

    low: float
    high: float

    def read(self, value: Any) -> float:
        """Return the quantile, or the seconds below zero."""
        match = _QUANTILE.fullmatch(value) if isinstance(value, str) else None
        if match is not None:
            return float(match[1]) / 100
        seconds = duration(value)
        if not self.low <= seconds <= self.high:
            raise Mistake("out of range", f"p50 to p99.9, or {duration_text(self.low)} to {duration_text(self.high)}")
        return -seconds

    def schema(self) -> dict[str, Any]:
        """Return the schema of both forms."""
        pattern = f"{QUANTILE_PATTERN}|{DURATION_PATTERN}"
        bounds = f"p50 to p99.9, or {duration_text(self.low)} to {duration_text(self.high)}"
        return {"type": "string", "format": "quantile or duration", "pattern": pattern, "x-range": bounds}


@dataclass(frozen=True)
class Short:
    """A map that may be written as the value of its ``key`` alone."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._mapped, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler(schema)
        return {"anyOf": [{"type": "string"}, whole]}

    def _mapped(self, value: Any) -> Any:
        return {self.key: value} if isinstance(value, str) else value


@dataclass(frozen=True)
class Several:
    """A list that may be written as its only item."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(schema)
        return {"anyOf": [listed, listed["items"]]}


@dataclass(frozen=True)
class SeveralMaps(Several):
    """A list of maps that may be written as its only map."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed_map, handler(source))


def _listed_map(value: Any) -> Any:
    if not isinstance(value, dict | list):
        raise Mistake(f"{kind_of(value)} stands here", "a map, or a list of maps")
    return [value] if isinstance(value, dict) else value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | dict) or value is None else [value]
