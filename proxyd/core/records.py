"""Records as they come from workers, which are not trusted: checked once, before anything looks at them.

A record is checked by one look-up: the tuple of its values' types is either known to be good or is examined once.
What is left per record is the length of its texts and whether its numbers are finite.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter, le
from typing import Any, Final

from proxyd.core.events import SCHEMAS, SHORT, Field, Schema, Type

Values = list[Any]
"""One record, ``[schema id, *values]``; whoever gets it does not change it."""

MAX_VALUES: Final = 256
"""Values of one record; a schema of a later version may have more fields than this one knows."""
MAX_SIGNATURES: Final = 1024
"""Type signatures remembered for a schema; an honest worker has a few dozen."""

_NONE: Final = type(None)
_TYPES: Final[dict[Type, tuple[type, ...]]] = {
    Type.TEXT: (str,),
    Type.BYTES: (bytes,),
    Type.INTEGER: (int,),
    Type.NUMBER: (float, int),
    Type.BOOLEAN: (bool,),
}


class Record:
    """A look at one record: its values are attributes, named as in its schema. It costs nothing until it is asked."""

    __slots__ = ("schema", "values")

    def __init__(self, schema: Schema, values: Values) -> None:
        self.schema = schema
        self.values = values

    def __getattr__(self, name: str) -> Any:
        place = self.schema.place.get(name)
        if place is None:
            raise AttributeError(f"{self.schema.name} has no field {name!r}; it has {', '.join(self.schema.names)}")
        return self.values[place]

    def __repr__(self) -> str:
        return f"<Record {self.schema.name}>"

    def as_dict(self) -> dict[str, Any]:
        """Return all values by name."""
        return dict(zip(self.schema.names, self.values[1:], strict=True))


@dataclass(slots=True)
class Batch:
    """Valid records that came together from one worker, by schema id, each in the order in which they were made."""

    worker: int = 0
    records: dict[int, list[Values]] = field(default_factory=dict)
    size: int = 0
    """Characters and bytes of all values that are text."""

    def __len__(self) -> int:
        return sum(map(len, self.records.values()))

    def __iter__(self) -> Iterator[Record]:
        for number, records in self.records.items():
            schema = SCHEMAS[number]
            for values in records:
                yield Record(schema, values)

    def of(self, schema: int) -> list[Values]:
        """Return the records of one schema as they are, for whoever counts microseconds."""
        return self.records.get(schema, [])

    def only(self, schemas: frozenset[int]) -> "Batch":
        """Return the part that is of these schemas; its size is an upper bound."""
        if schemas.issuperset(self.records):
            return self
        return Batch(self.worker, {key: found for key, found in self.records.items() if key in schemas}, self.size)


class Intake:
    """Checks records against the schemas; ``malformed`` counts those that did not fit."""

    def __init__(self, schemas: Mapping[int, Schema] = SCHEMAS) -> None:
        self.malformed = 0
        self._checks = {number: _Check(schema) for number, schema in schemas.items()}

    def take(self, worker: int, records: Iterable[Values]) -> Batch:
        """Return what is valid of one frame's records."""
        batch = Batch(worker)
        size = 0
        number: int | None = None
        measure: Callable[[Values], int] = _refuse
        kept: list[Values] = []
        for record in records:
            if not record or type(record[0]) is not int:
                self.malformed += 1
                continue
            if record[0] != number:  # records come in runs of one schema
                number = record[0]
                check = self._checks.get(number)
                measure = check.measure if check is not None else _refuse
                kept = batch.records.setdefault(number, []) if check is not None else []
            length = measure(record)
            if length < 0:
                self.malformed += 1
                continue
            size += length
            kept.append(record)
        batch.size = size
        return batch


class _Layout:
    """What to look at in records of one type signature."""

    __slots__ = ("numbers", "sized", "within")

    def __init__(self, signature: Sequence[type], fields: Sequence[Field]) -> None:
        at = list(enumerate(zip(signature[1:], fields, strict=True), 1))
        sized = [(index, one.longest) for index, (kind, one) in at if kind in (str, bytes)]
        numbers = [index for index, (kind, one) in at if one.type is Type.NUMBER and kind is float]
        self.sized = _getter([index for index, _ in sized])
        self.within = tuple(longest for _, longest in sized)
        self.numbers = _getter(numbers)


class _Check:
    """One schema, and the signatures that were found good."""

    def __init__(self, schema: Schema) -> None:
        self._fields = schema.fields
        self._length = 1 + len(schema.fields)
        self._least = schema.least
        self._good: dict[tuple[type, ...], _Layout] = {}

    def measure(self, record: Values) -> int:
        """Return the size of a record's texts, -1 when it does not fit; brings one of another version into form."""
        layout = self._good.get(tuple(map(type, record)))
        if layout is None:
            layout = self._examine(record)
            if layout is None:
                return -1
        size = sum(map(len, layout.sized(record)))
        if size > SHORT and not all(map(le, map(len, layout.sized(record)), layout.within)):
            return -1
        return size if math.isfinite(sum(layout.numbers(record))) else -1

    def _examine(self, record: Values) -> _Layout | None:
        if not self._least <= len(record) <= MAX_VALUES:
            return None
        del record[self._length :]
        record += [None] * (self._length - len(record))
        signature = tuple(map(type, record))
        layout = self._good.get(signature)
        if layout is not None:
            return layout
        if not all(map(_fits, signature[1:], self._fields)):
            return None
        if len(self._good) >= MAX_SIGNATURES:
            self._good.clear()
        layout = self._good[signature] = _Layout(signature, self._fields)
        return layout


def _fits(kind: type, one: Field) -> bool:
    return kind in _TYPES[one.type] or (kind is _NONE and one.optional)


def _getter(places: Sequence[int]) -> Callable[[Values], Iterable[Any]]:
    if not places:
        return lambda record: ()
    if len(places) == 1:
        return itemgetter(slice(places[0], places[0] + 1))
    return itemgetter(*places)


def _refuse(record: Values) -> int:
    """Measure a record of no schema."""
    return -1
