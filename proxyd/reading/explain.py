"""What pydantic found, in words a person can act on."""

from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxyd.reading.problems import Trail, describe, kind_of, shown
from proxyd.reading.schema import Form, M
from proxyd.reading.tree import Tree
from proxyd.reading.views import has

_SWITCHES: Final = dict.fromkeys(("yes", "on", "y", "True", "1"), "true") | dict.fromkeys(
    ("no", "off", "n", "0"), "false"
)

_SHAPES: Final = {
    "model_type": "a map",
    "model_attributes_type": "a map",
    "dict_type": "a map",
    "list_type": "a list",
    "bool_type": "true or false",
    "string_type": "text",
}


def validate(tree: Tree, form: Form[M]) -> M | None:
    """Return the validated ``form.model``, or None when it has mistakes, which are then in ``tree.problems``."""
    nothing = _report_nothing(tree, tree.value, ())
    try:
        return form.model.model_validate(tree.value)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            trail = _trail(detail["loc"], tree.value, detail["type"])
            if trail not in nothing:
                _report(tree, form, trail, detail)
        return None


def _report_nothing(tree: Tree, value: Any, trail: Trail) -> set[Trail]:
    """Report every key without a value: whether a default or nothing was meant cannot be known."""
    if value is None:
        if trail:
            tree.add(trail, "nothing stands here; leave the key out or give it a value", at_key=True)
            return {trail}
        return set()
    if isinstance(value, dict):
        return {found for key, item in value.items() for found in _report_nothing(tree, item, (*trail, key))}
    if isinstance(value, list):
        return {found for index, item in enumerate(value) for found in _report_nothing(tree, item, (*trail, index))}
    return set()


def _report(tree: Tree, form: Form[Any], trail: Trail, detail: ErrorDetails) -> None:
    kind = detail["type"]
    value = _value_at(tree.value, trail)
    if kind == "extra_forbidden":
        tree.add(trail, _unknown_key(tree, form, trail), at_key=True)
    elif kind == "missing":
        tree.add(trail, _missing(form, trail, tree.value))
    elif kind == "union_tag_not_found":
        tag = (*trail, "scheme")
        if isinstance(value, dict) and "scheme" in value:
            tree.add(tag, _not_a_word(tree, form, tag, value["scheme"]))
        else:
            tree.add(tag, describe("the key is missing", _one_of(form.words(trail, tree.value))))
    elif kind == "union_tag_invalid":
        choices = form.words(trail, tree.value)
        scheme = value.get("scheme") if isinstance(value, dict) else None
        tree.add((*trail, "scheme"), describe("not a known word", _one_of(choices), tree.nearest(scheme, choices)))
    elif kind == "literal_error":
        tree.add(trail, _not_a_word(tree, form, trail, value))
    elif kind == "too_short":
        tree.add(trail, "the list is empty; give it an item or leave the key out")
    elif kind in _SHAPES:
        guess = _SWITCHES.get(value, "") if kind == "bool_type" and isinstance(value, str) else ""
        tree.add(trail, describe(f"{kind_of(value)} stands here", _SHAPES[kind], guess))
    else:  # a Mistake's own words, after pydantic's "Value error, "
        reason = detail.get("ctx", {}).get("error")
        tree.add(trail, str(reason) if reason is not None else detail["msg"], at_key=detail["loc"][-1:] == ("[key]",))


def _unknown_key(tree: Tree, form: Form[Any], trail: Trail) -> str:
    key = trail[-1]
    if key == "<<":
        return "merge keys are no part of YAML 1.2; write the keys out"
    choices = form.known_keys(trail[:-1], tree.value)
    return describe(f"unknown key '{shown(str(key))}'", _one_of(choices), tree.nearest(key, choices))


def _missing(form: Form[Any], trail: Trail, document: Any) -> str:
    about = next((node["description"] for node in form.nodes_at(trail, document) if "description" in node), "")
    return f"the key is missing: {about}" if about else "the key is missing"


def _not_a_word(tree: Tree, form: Form[Any], trail: Trail, value: object) -> str:
    choices = form.words(trail, tree.value)
    return describe("not a known word", _one_of(choices), tree.nearest(value, choices))


def _one_of(choices: list[str]) -> str:
    return f"one of {', '.join(choices)}" if len(choices) > 1 else "".join(choices)


def _trail(location: tuple[int | str, ...], document: Any, kind: str) -> Trail:
    """Return pydantic's ``location`` as a trail in the document: no union tags, no steps that it made up."""
    trail: list[str | int] = []
    value = document
    for index, step in enumerate(location):
        if has(value, step):
            value = value[step]
        elif isinstance(value, dict) and value.get("scheme") == step and index < len(location) - 1:
            continue  # the tag of a union
        elif isinstance(step, int) and isinstance(value, dict):
            continue  # a list that is written as its only item
        elif kind != "missing" or index < len(location) - 1:
            break
        trail.append(step)
    return tuple(trail)


def _value_at(document: Any, trail: Trail) -> Any:
    for step in trail:
        if not has(document, step):
            return None
        document = document[step]
    return document
