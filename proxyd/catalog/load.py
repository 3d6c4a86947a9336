"""A file of the catalogue to a definition; every mistake at once, each with its line."""

import contextlib
from pathlib import Path

from pydantic import ValidationError

from proxyd.catalog.checks import check
from proxyd.catalog.definition import FORM, Definition
from proxyd.catalog.shelf import SHIPPED
from proxyd.reading.explain import validate
from proxyd.reading.files import text_of
from proxyd.reading.problems import ConfigError
from proxyd.reading.tree import read


def load(path: Path) -> Definition:
    """Load the definition at ``path``; ConfigError lists every mistake."""
    tree = read(text_of(path, "name another one under catalogue"), str(path), "the key name")
    if path.parent == SHIPPED:
        with contextlib.suppress(ValidationError):  # a damaged file is explained below
            return Definition.model_validate(tree.value)  # tests have checked the rest
    definition = validate(tree, FORM)
    if definition is not None:
        check(tree, definition, path.stem)
    if definition is None or tree.problems:
        raise ConfigError(tree.problems)
    return definition
