"""The JSON schema of a kind of file, and what it says about one place in it."""

import functools
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from proxyd.reading.problems import Trail
from proxyd.reading.quantities import duration_text, size_text
from proxyd.reading.views import has

M = TypeVar("M", bound=BaseModel)


class Form(Generic[M]):
    """What a kind of file may say: the model that reads it, and its schema."""

    def __init__(self, model: type[M], title: str) -> None:
        self.model = model
        self._title = title

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema (draft 2020-12). Callers do not change it."""
        schema = self.model.model_json_schema()
        for node in list(_nodes(schema)):
            _tidy(node)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": self._title}

    def known_keys(self, trail: Trail, value: Any) -> list[str]:
        """Return the keys that the map at ``trail`` may have; ``value`` is the whole plain document."""
        return list(dict.fromkeys(key for node in self.nodes_at(trail, value) for key in node.get("properties", ())))

    def words(self, trail: Trail, value: Any) -> list[str]:
        """Return the words that the value at ``trail`` may be, where it is one of a few."""
        found: list[str] = []
        for node in self.nodes_at(trail, value):
            found += node.get("enum", ())
            found += [node["const"]] if "const" in node else []
            found += node["discriminator"]["mapping"] if "discriminator" in node else []
        return list(dict.fromkeys(found))

    def nodes_at(self, trail: Trail, value: Any) -> list[dict[str, Any]]:
        """Return the schemas that may stand at ``trail``; a tagged union is narrowed by the tag in ``value``."""
        nodes = self._choices(self.schema, value)
        for step in trail:
            value = value[step] if has(value, step) else None
            below = (child for node in nodes for child in _children(node, step))
            nodes = [choice for child in below for choice in self._choices(child, value)]
        return nodes

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """Follow a ``$ref``; what stands beside it wins."""
        reference = node.get("$ref")
        if reference is None:
            return node
        target: dict[str, Any] = self.schema["$defs"][reference.rpartition("/")[2]]
        return {**target, **{key: item for key, item in node.items() if key != "$ref"}}

    def _choices(self, node: dict[str, Any], value: Any) -> list[dict[str, Any]]:
        node = self.resolve(node)
        if "discriminator" in node:
            tags = node["discriminator"]["mapping"]
            tag = value.get(node["discriminator"]["propertyName"]) if isinstance(value, dict) else None
            chosen = {tag: tags[tag]} if isinstance(tag, str) and tag in tags else tags
            return [node, *(self.resolve({"$ref": reference}) for reference in chosen.values())]
        choices = [choice for inner in node.get("anyOf", ()) for choice in self._choices(inner, value)]
        return [node, *choices]


def _children(node: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    if isinstance(step, int):
        children = [node.get("items")]
    else:
        children = [node.get("properties", {}).get(step) or node.get("additionalProperties")]
    yield from (child for child in children if isinstance(child, dict))


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema in a schema, itself first. Maps of schemas are none themselves."""
    if not isinstance(node, dict):
        return
    yield node
    for key, inner in node.items():
        if key in ("properties", "patternProperties", "$defs"):
            for schema in inner.values():
                yield from _nodes(schema)
        elif key in ("anyOf", "oneOf"):
            for schema in inner:
                yield from _nodes(schema)
        elif key in ("items", "additionalProperties", "propertyNames"):
            yield from _nodes(inner)


def _tidy(node: dict[str, Any]) -> None:
    """Remove what a reader of the schema cannot use: made-up titles, null and defaults in another form."""
    if isinstance(node.get("title"), str):
        del node["title"]
    if "patternProperties" in node:  # how pydantic says that keys have a form; this also refuses others
        ((pattern, node["additionalProperties"]),) = node.pop("patternProperties").items()
        node["propertyNames"] = {"pattern": pattern}
    choices = node.get("anyOf")
    if choices and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del node["anyOf"]
        node |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    if "default" in node:
        _tidy_default(node)


def _tidy_default(node: dict[str, Any]) -> None:
    default = node["default"]
    if default is None:
        del node["default"]
    elif isinstance(default, list) and default and node.get("items", {}).get("format") == "duration":
        node["default"] = [duration_text(item) for item in default]
    elif node.get("format") == "duration":
        node["default"] = duration_text(default)
    elif node.get("format") == "size":
        node["default"] = size_text(default) if default % 1024 == 0 and default else default
    elif node.get("format") == "quantile or duration":
        node["default"] = f"p{default * 100:g}"
    elif node.get("format") == "percentage":
        node["default"] = f"{default * 100:g}%"
    elif default in ("", []) or isinstance(default, dict):
        del node["default"]
