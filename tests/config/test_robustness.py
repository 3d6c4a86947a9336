"""Whatever the text, the answer is settings or a list of mistakes."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyd.config.load import load_text
from proxyd.config.model import FORM
from proxyd.reading.problems import ConfigError, Problem
from tests.config.conftest import RUNTIME, STATE

CONF = Path(__file__).parents[2] / "conf"
EXAMPLES = [path.read_text() for path in sorted(CONF.glob("*.yaml"))]
KEYS = sorted({key for node in (FORM.schema, *FORM.schema["$defs"].values()) for key in node["properties"]})
VALUES = [
    "2s",
    "64KiB",
    "forward",
    "bearer",
    "header",
    "*",
    "api.x.com",
    "https://api.x.com/v2",
    "127.0.0.1:1",
    "/v2",
    "GET",
]


def attempt(text):
    problems = [Problem("f.yaml", 1, 1, "", "none")]
    try:
        load_text(text, "f.yaml", Path("/nowhere"), STATE, RUNTIME)
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
        assert "\n" not in str(problem)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(VALUES)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=40,
)


@given(trees)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tree_is_answered(tree):
    attempt(yaml.safe_dump(tree, allow_unicode=True))


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_is_answered(text):
    attempt(text)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mutation_of_an_example_is_answered(data):
    text = data.draw(st.sampled_from(EXAMPLES))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        text = (
            text[:start] + data.draw(st.text(max_size=6) | st.sampled_from([*VALUES, *KEYS])) + text[start + length :]
        )
    attempt(text)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_subtree_in_any_place_is_answered(data):
    document = yaml.safe_load(data.draw(st.sampled_from(EXAMPLES)))
    node = document
    while True:
        key = data.draw(st.sampled_from(sorted(node, key=str) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(trees)
    attempt(yaml.safe_dump(document))


@pytest.mark.parametrize(
    "line", ["listeners: &a [*a]", "? !x y\n: z", "services: {a: {auth: {scheme: {}}}}", "access: {rules: [[]]}"]
)
def test_odd_shapes_are_answered(line):
    attempt(line)
