"""Texts of a definition with options in braces, and hosts that are composed of parts.

Apart from the models, since what lists the catalogue needs no pydantic.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxyd.reading.problems import Mistake

OPTION: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""A place where an option's value goes."""

HOST: Final = "host"
"""Stands for the service's first host where an option's name would stand."""

BASE_URL: Final = "base_url"
BASE_HOST: Final = "base_host"
BUILT_IN: Final = (HOST, BASE_URL, BASE_HOST)
"""What stands in braces and is no option: the base URL of the service, and the host in it."""

PART: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return ``template`` with each option in braces replaced; one without a value stays as it is."""
    return OPTION.sub(lambda match: values.get(match[1], match[0]), template)


def filled_in(value: Any, values: Mapping[str, str]) -> Any:
    """Return a plain value with every text below it filled in."""
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, dict):
        return {key: filled_in(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [filled_in(item, values) for item in value]
    return value


def varied(templates: Iterable[str], lists: Mapping[str, Sequence[str]]) -> list[str]:
    """Return each of ``templates`` once for every value of the lists that it names."""
    found: list[str] = []
    for template in templates:
        names = [name for name in dict.fromkeys(OPTION.findall(template)) if name in lists]
        choices = itertools.product(*(lists[name] for name in names))
        found += [fill(template, dict(zip(names, values, strict=True))) for values in choices]
    return list(dict.fromkeys(found))


def host_text(value: Any) -> Any:
    """Return a host in the form of one text where it is composed of two."""
    return composed(value) if isinstance(value, dict) else value


def composed(parts: dict[str, Any]) -> str:
    """Return the host whose parts these are; Mistake: they are none."""
    name, domain = parts.get("name"), parts.get("domain")
    if set(parts) != {"name", "domain"} or not all(
        isinstance(part, str) and PART.fullmatch(part) for part in (name, domain)
    ):
        raise Mistake("not a host in parts", "{name: LABELS, domain: LABELS} and nothing else")
    return f"{name}.{domain}"
