"""Hosts of a definition: composed of parts, with options of the user's in braces, in YAML and filled in."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxyd.reading import addresses
from proxyd.reading.problems import Mistake, kind_of
from proxyd.reading.readers import Reader

OPTION: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""A place where an option's value goes."""

HOST: Final = "host"
"""Stands for the service's first host where an option's name would stand."""

BASE_URL: Final = "base_url"
BASE_HOST: Final = "base_host"
BUILT_IN: Final = (HOST, BASE_URL, BASE_HOST)
"""What stands in braces and is no option: the base URL of the service, and the host in it."""

_PART: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class HostTemplate(Reader):
    """A host pattern, whose labels may be options in braces; ``{name: …, domain: …}`` is the two with a dot between."""

    def read(self, value: Any) -> str:
        """Return the pattern as text."""
        text = _composed(value) if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise Mistake(f"{kind_of(value)} stands here", "a host such as api.example.com, or {name: …, domain: …}")
        if not set(BUILT_IN) & set(OPTION.findall(text)):
            addresses.host_pattern(OPTION.sub("x", text))
        return text

    def schema(self) -> dict[str, Any]:
        """Return the schema of both forms."""
        part = {"type": "string", "pattern": f"^{_PART.pattern}$"}
        parts = {"type": "object", "properties": {"name": part, "domain": part}, "additionalProperties": False}
        return {"anyOf": [{"type": "string", "format": "host"}, parts | {"required": ["name", "domain"]}]}


@dataclass(frozen=True)
class UrlTemplate(Reader):
    """A URL with options in braces."""

    def read(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise Mistake(f"{kind_of(value)} stands here", "a URL such as https://{region}.example.com/v2")
        addresses.base_url(OPTION.sub("x", value.replace(f"{{{BASE_URL}}}", "https://x")))
        return value

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {"type": "string", "format": "url", "pattern": r"^(https?://|\{base_url\})"}


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
    return _composed(value) if isinstance(value, dict) else value


def _composed(parts: dict[str, Any]) -> str:
    name, domain = parts.get("name"), parts.get("domain")
    if set(parts) != {"name", "domain"} or not all(
        isinstance(part, str) and _PART.fullmatch(part) for part in (name, domain)
    ):
        raise Mistake("not a host in parts", "{name: LABELS, domain: LABELS} and nothing else")
    return f"{name}.{domain}"
