"""What every section of a file that people write is."""

import ast
import functools
import gc
import inspect
import sys
from typing import Any

from pydantic import BaseModel, ConfigDict


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Put the text below each field of ``model`` into its schema.

    Pydantic can do that itself, at the cost of reading every module's source whenever it is imported.
    """
    named = {field.alias: name for name, field in model.model_fields.items() if field.alias}
    for key, node in schema.get("properties", {}).items():
        name = named.get(key, key)
        for base in model.__mro__:
            text = _texts(base.__module__).get((base.__qualname__, name))
            if text is not None:
                node["description"] = text
                break


@functools.cache
def _texts(module: str) -> dict[tuple[str, str], str]:
    """Return the texts below annotated names, by class and name."""
    found: dict[tuple[str, str], str] = {}
    try:
        tree = _parsed(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError):  # built in, or without its source
        return found
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, below in zip(kind.body, kind.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                text = below.value.value if isinstance(below.value, ast.Constant) else None
                if isinstance(text, str):
                    found[kind.name, field.target.id] = inspect.cleandoc(text)
    return found


class Section(BaseModel):
    """A map with known keys only, read without conversions."""

    model_config = ConfigDict(
        extra="forbid",
        defer_build=True,
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra=_describe,
    )


def _parsed(source: str) -> ast.Module:
    """Parse without the collector: what it finalises may parse, too, which CPython before 3.11.5 does not survive.

    https://github.com/python/cpython/issues/106905.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if was_on:
            gc.enable()
