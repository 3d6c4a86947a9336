import math

import pytest

from proxyd.reading.problems import ConfigError, Place
from proxyd.reading.tree import MAX_BYTES, MAX_HINTS, MAX_NODES, read


def value_of(text):
    tree = read(text, "f.yaml")
    assert not tree.problems
    return tree.value


def problems_of(text):
    try:
        found = read(text, "f.yaml").problems
    except ConfigError as error:
        found = error.problems
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("off", "off"),
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("+3", 3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("'1'", "1"),
        ('"true"', "true"),
        ("1.2.3.4", "1.2.3.4"),
        ("=", "="),
        ("0b1", "0b1"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    found = value_of(f"[{text}]")[0]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_float():
    assert math.isnan(value_of("[.nan]")[0])


def test_every_value_and_key_has_its_place():
    tree = read("a: 1\nb:\n  - x\n  - {c: d}\n", "f.yaml")
    assert tree.values[("b", 1, "c")] == Place(4, 9)
    assert tree.keys[("b", 1, "c")] == Place(4, 6)
    assert tree.line(("b", 0)) == 3
    assert tree.line(("nowhere",)) == 0


def test_a_missing_value_is_placed_at_the_key_of_its_parent():
    tree = read("a:\n  b: {c: 1}\n", "f.yaml")
    tree.add(("a", "b", "x"), "missing")
    assert str(tree.problems[0]) == "f.yaml:2:3: a.b.x: missing"


def test_keys_are_text_whatever_they_look_like():
    assert value_of("{1: a, true: b, null: c}") == {"1": "a", "true": "b", "null": "c"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1: the key is given twice, first on line 1"),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "1:4: tags are not accepted; remove '!!python/object/apply:os.system'",
        ),
        ("a: !env X\n", "1:4: tags are not accepted; remove '!env'"),
        ("a: !!str 5\n", "1:4: tags are not accepted; remove '!!str'"),
        ("a: !x {b: c}\n", "1:4: tags are not accepted; remove '!x'"),
        ("!x a: b\n", "1:1: tags are not accepted; remove what begins with '!'"),
        ("? [a, b]\n: c\n", "1:3: a key must be text, not a list or a map"),
        ("a: 99999999999999999999\n", "1:4: the number has more than 18 digits"),
        (
            "a: [1, 2\nb: 3\n",
            "2:2: not YAML: while parsing a flow sequence that begins on line 1, did not find expected ',' or ']'",
        ),
        (
            "a:\n\t- b\n",
            "2:1: not YAML: while scanning for the next token, found character that cannot start any token "
            "(a tab, '@', '`' or '%'? indent with spaces, put such text in quotes)",
        ),
        ("a: b: c\n", "1:5: not YAML: mapping values are not allowed in this context"),
        ("a: *x\n", "1:4: not YAML: found undefined alias"),
        ("--- a\n--- b\n", "2:1: not YAML: expected a single document in the stream, but found another document"),
        ("", "1:1: the file is empty; something is needed"),
        ("# nothing\n", "1:1: the file is empty; something is needed"),
        ("a: é\nb: \x07\n", "2:4: control characters are not allowed (character #x0007)"),
        ("a: \ud800\n", "1:4: a lone surrogate is not text"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text, problem):
    assert problems_of(text) == [problem]


def test_aliases_repeat_values():
    assert value_of("a: &x {b: [1]}\nc: *x\n") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_an_alias_bomb_is_refused():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    (problem,) = problems_of(bomb)
    assert f"more than {MAX_NODES} values, aliases counted" in problem


def test_an_alias_of_itself_is_refused():
    (problem,) = problems_of("a: &a [*a]\n")
    assert "an alias that contains itself" in problem


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "[" * 100 + "]" * 100])
def test_deep_nesting_is_refused(text):
    (problem,) = problems_of(text)
    assert "nest" in problem


def test_a_huge_file_is_refused_unread():
    assert problems_of("#" * (MAX_BYTES + 1)) == ["1:1: the file has more than 8 MiB"]


def test_nearest_names_are_looked_for_within_a_budget():
    tree = read("a: 1", "f.yaml")
    found = [tree.nearest("drain_olt", ["drain_old"]) for _ in range(MAX_HINTS + 1)]
    assert found[0] == "drain_old"
    assert found[-1] == ""
