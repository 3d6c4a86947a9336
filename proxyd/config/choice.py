"""What the user gives for a service of the catalogue, and which of its schemes that is for."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proxyd.catalog.credentials import FieldSection, SchemeSection
from proxyd.catalog.definition import Definition
from proxyd.reading.problems import Trail, describe, shown
from proxyd.reading.tree import Tree


@dataclass(frozen=True, slots=True)
class Given:
    """Names of secrets by field, and options by name."""

    alone: str
    """The name of the only secret, where no field is named; it is for the one that the scheme needs."""
    secrets: dict[str, str]
    options: dict[str, str]
    """Those that have a default are among them."""

    @property
    def is_empty(self) -> bool:
        """Whether no secret is named."""
        return not self.alone and not self.secrets

    def of_scheme(self, scheme: SchemeSection, definition: Definition) -> dict[str, str]:
        """Return the secrets by field, the only one under the name of its field."""
        if not self.alone:
            return self.secrets
        return dict.fromkeys(_secret_fields(scheme.fields, definition), self.alone)


def given_of(tree: Tree, trail: Trail, service: dict[str, Any], definition: Definition) -> Given:
    """Read ``secret`` and ``options`` of a service; mistakes are reported."""
    secret = service.get("secret")
    named = secret if isinstance(secret, dict) else {}
    options = {name: field.default for name, field in definition.fields.items() if field.default}
    plain = service.get("options")
    for name, value in (plain if isinstance(plain, dict) else {}).items():
        where = (*trail, "options", name)
        field = definition.fields.get(name)
        if field is None:
            tree.add(where, _unknown(tree, name, definition, secret=False), at_key=True)
        elif field.secret:
            tree.add(where, f"{name} is a secret; under secret stands the name of one that holds it", at_key=True)
        elif isinstance(value, bool) or not isinstance(value, str | int):
            continue  # the models say so
        elif field.pattern and not re.fullmatch(field.pattern, str(value)):
            tree.add(where, describe(f"that is no {field.title}", f"the form {field.pattern}{_where(field)}"))
        else:
            options[name] = str(value)
    secrets: dict[str, str] = {}
    for name, value in named.items():
        where = (*trail, "secret", name)
        field = definition.fields.get(name)
        if field is None:
            tree.add(where, _unknown(tree, name, definition, secret=True), at_key=True)
        elif not field.secret:
            tree.add(where, f"{name} is no secret; it stands under options in clear", at_key=True)
        elif isinstance(value, str):
            secrets[name] = value
    return Given(secret if isinstance(secret, str) else "", secrets, options)


def choose(
    tree: Tree, trail: Trail, service: dict[str, Any], definition: Definition, given: Given
) -> SchemeSection | None:
    """Return the first scheme that what is given is for, else report what is missing."""
    schemes: Sequence[SchemeSection] = definition.schemes
    wanted = service.get("scheme")
    if isinstance(wanted, str):
        schemes = [scheme for scheme in schemes if scheme.name == wanted]
        if not schemes:
            names = [scheme.name for scheme in definition.schemes]
            problem = f"{definition.title} has no scheme of this name"
            tree.add((*trail, "scheme"), describe(problem, f"one of {', '.join(names)}", tree.nearest(wanted, names)))
            return None
    fitting = next((scheme for scheme in schemes if _fits(scheme, definition, given)), None)
    if fitting is None:
        _report(tree, trail, definition, given, schemes)
    return fitting


def missing_field(tree: Tree, trail: Trail, definition: Definition, name: str) -> None:
    """Report that the field ``name`` is needed."""
    field = definition.fields[name]
    key = "secret" if field.secret else "options"
    example = f"{key}: {{{name}: {'NAME' if field.secret else '…'}}}"
    message = f"the field {name} is missing: {field.title}{_where(field)}; write {example}"
    tree.add((*trail, key, name), message)


def _fits(scheme: SchemeSection, definition: Definition, given: Given) -> bool:
    secrets = given.of_scheme(scheme, definition)
    if given.alone and len(secrets) != 1:
        return False
    has_all = all(name in secrets or name in given.options for name in scheme.fields)
    return has_all and secrets.keys() <= {*scheme.fields, *scheme.optional}


def _report(
    tree: Tree,
    trail: Trail,
    definition: Definition,
    given: Given,
    schemes: Sequence[SchemeSection],
) -> None:
    """Say what the scheme that is meant most probably lacks, or which fields do not go together."""
    if given.alone:
        schemes = [scheme for scheme in schemes if _secret_fields(scheme.fields, definition)] or schemes
    meant = min(schemes, key=lambda scheme: _distance(scheme, definition, given))
    names = _secret_fields(meant.fields, definition)
    if given.alone and len(names) != 1:
        _report_alone(tree, (*trail, "secret"), definition, meant, names)
        return
    secrets = given.of_scheme(meant, definition)
    missing = [name for name in meant.fields if name not in secrets and name not in given.options]
    for name in missing:
        missing_field(tree, trail, definition, name)
    extra = [name for name in secrets if name not in (*meant.fields, *meant.optional)]
    if extra and not missing:
        problem = f"{' and '.join(extra)} is for another scheme than {' and '.join(meant.fields) or meant.name}"
        kinds = "; ".join(f"{scheme.name}: {', '.join(scheme.fields) or 'nothing'}" for scheme in schemes)
        tree.add((*trail, "secret", extra[0]), describe(problem, f"the fields of one scheme ({kinds})"), at_key=True)


def _report_alone(tree: Tree, trail: Trail, definition: Definition, meant: SchemeSection, names: list[str]) -> None:
    """Say that a secret alone is too little for the scheme that is meant, or too much."""
    problem = f"one secret is not enough for {definition.title}"
    if not names:
        names = _secret_fields(meant.optional, definition)
        problem = f"the scheme {meant.name} of {definition.title} needs no secret"
    fields = {name: definition.fields[name] for name in names}
    told = "; ".join(f"{name}: {field.title}{_where(field)}" for name, field in fields.items())
    wanted = ", ".join(f"{name}: NAME" for name in names)
    tree.add(trail, describe(problem, f"secret: {{{wanted}}} ({told})" if names else ""))


def _distance(scheme: SchemeSection, definition: Definition, given: Given) -> tuple[int, int]:
    secrets = given.of_scheme(scheme, definition)
    missing = sum(name not in secrets and name not in given.options for name in scheme.fields)
    extra = sum(name not in (*scheme.fields, *scheme.optional) for name in secrets)
    return extra, missing


def _secret_fields(names: Iterable[str], definition: Definition) -> list[str]:
    return [name for name in names if name in definition.fields and definition.fields[name].secret]


def _unknown(tree: Tree, name: str, definition: Definition, *, secret: bool) -> str:
    names = [other for other, field in definition.fields.items() if field.secret is secret]
    other = f"one of {', '.join(names)}" if names else f"none: it has no {'secrets' if secret else 'options'}"
    problem = f"no scheme of {definition.title} takes the {'field' if secret else 'option'} '{shown(name)}'"
    return describe(problem, other, tree.nearest(name, names))


def _where(field: FieldSection) -> str:
    return f" ({field.where})" if field.where else ""
