import enum
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest

from proxyd.core.plain import from_plain, to_plain


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    points: tuple[Point, ...] = ()
    colour: Colour = Colour.RED
    label: str | None = None
    pair: tuple[int, str] = (0, "")
    named: dict[str, Point] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    anything: Any = None
    raw: bytes = b""
    flag: bool = False


FULL = Shape(
    "s", (Point(1, 2.5), Point(3)), Colour.BLUE, "l", (7, "x"), {"a": Point(1)}, [1, 2], {"k": [None]}, b"\0", True
)


@pytest.mark.parametrize("shape", [FULL, Shape("bare")])
def test_what_travels_as_msgpack_comes_back_the_same(shape):
    assert from_plain(Shape, msgpack.unpackb(msgpack.packb(to_plain(shape)))) == shape


def test_an_integer_is_a_float_where_one_is_expected():
    y = from_plain(Point, {"x": 1, "y": 2}).y
    assert (y, type(y)) == (2.0, float)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "Shape: expected a map"),
        ({}, "Shape: missing field name"),
        ({"name": "s", "size": 1}, "Shape: unknown field size"),
        ({"name": b"s"}, "Shape.name: expected str, got bytes"),
        ({"name": "s", "points": {}}, "Shape.points: expected a list"),
        ({"name": "s", "points": [{"x": 1}, {"x": "1"}]}, r"Shape.points\[1\].x: expected int, got str"),
        ({"name": "s", "points": [{"x": True}]}, "expected int, got bool"),
        ({"name": "s", "points": [{"x": 1.0}]}, "expected int, got float"),
        ({"name": "s", "points": [{"x": 1, "y": True}]}, "expected float, got bool"),
        ({"name": "s", "flag": 1}, "Shape.flag: expected bool"),
        ({"name": "s", "colour": "green"}, "Shape.colour: not a Colour"),
        ({"name": "s", "label": 1}, "Shape.label: expected str"),
        ({"name": "s", "pair": [1]}, "Shape.pair: expected 2 items, got 1"),
        ({"name": "s", "pair": [1, 2]}, r"Shape.pair\[1\]: expected str"),
        ({"name": "s", "named": {1: {"x": 1}}}, "Shape.named: expected str, got int"),
        ({"name": "s", "named": {"a": {}}}, r"Shape.named\['a'\]: missing field x"),
    ],
)
def test_a_mismatch_is_refused_and_its_place_named(data, words):
    with pytest.raises(ValueError, match=words):
        from_plain(Shape, data)


def test_the_callers_words_name_the_root():
    with pytest.raises(ValueError, match="frame: missing field"):
        from_plain(Shape, {}, "frame")
