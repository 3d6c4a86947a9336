"""A scheme of a definition to ``auth`` sections of a service: fields become names of secrets, options their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxyd.catalog.auth import NAMES_A_SECRET
from proxyd.catalog.credentials import SchemeSection
from proxyd.catalog.definition import Definition
from proxyd.catalog.templates import OPTION, filled_in, host_text, varied
from proxyd.core.service import HostPattern
from proxyd.reading.addresses import host_pattern
from proxyd.reading.views import parsed

_NOTHING: Final = object()
"""Stands for what is left out, since the user did not give what it names."""


@dataclass(frozen=True, slots=True)
class Names:
    """What stands behind the fields of a scheme."""

    secrets: Mapping[str, str]
    """Names of secrets by field, the results of the token's flow among them."""
    options: Mapping[str, str]


def names_of(scheme: SchemeSection, secrets: Mapping[str, str], token: str, options: Mapping[str, str]) -> Names:
    """Return the names: a flow with one result yields ``token``, one with several ``token/FIELD`` of each."""
    results = scheme.token.results if scheme.token is not None else []
    made = {name: token if len(results) == 1 else f"{token}/{name}" for name in results}
    return Names({**secrets, **made}, options)


def presentations(
    definition: Definition, scheme: SchemeSection, names: Names, hosts: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the ``auth`` sections of a service on ``hosts``; those that apply to none of them are left out."""
    patterns = [pattern for pattern in (parsed(host_pattern, text) for text in hosts) if pattern is not None]
    found: list[dict[str, Any]] = []
    for item in scheme.apply:
        made = _made(item, names)
        if made is _NOTHING:
            continue
        section: dict[str, Any] = made
        if "hosts" in item:
            section["hosts"] = _hosts(item["hosts"], definition, names.options, patterns)
            if not section["hosts"]:
                continue
        found.append(_stripping(section, definition))
    return found


def _made(value: Any, names: Names, key: str = "") -> Any:
    """Return ``value`` with names in place of fields, or _NOTHING where it names what is not given."""
    if isinstance(value, str):
        if key in NAMES_A_SECRET:
            return names.secrets.get(value, _NOTHING)
        text = filled_in(value, names.options)
        return _NOTHING if OPTION.search(text) else text
    if isinstance(value, list):
        items = [made for made in (_made(item, names) for item in value) if made is not _NOTHING]
        return items if items or not value else _NOTHING
    if not isinstance(value, dict):
        return value
    inner = "secret" if key == "secrets" else ""
    items_made = {name: _made(item, names, inner or name) for name, item in value.items() if name != "hosts"}
    if key in ("secrets", "options"):
        kept = {name: item for name, item in items_made.items() if item is not _NOTHING}
        return kept if kept or key == "options" else _NOTHING
    return _NOTHING if any(item is _NOTHING for item in items_made.values()) else items_made


def _hosts(
    templates: Sequence[Any], definition: Definition, options: Mapping[str, str], patterns: Sequence[HostPattern]
) -> list[str]:
    texts = filled_in(varied(map(host_text, templates), definition.vary), options)
    return [text for text in texts if not OPTION.search(text) and _is_within(text, patterns)]


def _is_within(text: str, patterns: Sequence[HostPattern]) -> bool:
    host = parsed(host_pattern, text)
    if host is None:
        return False
    if host in patterns:
        return True
    if host.wildcard:
        return any(one.wildcard and f".{host.host}".endswith(f".{one.host}") for one in patterns)
    return any(one.matches(host.host, host.port or 443, any_port=True) for one in patterns)


def _stripping(section: dict[str, Any], definition: Definition) -> dict[str, Any]:
    strip = definition.strip
    fields = [*strip.headers, *(["cookie"] if strip.cookies else [])]
    if fields:
        section.setdefault("strip", fields)
    if strip.query:
        section.setdefault("strip_query", list(strip.query))
    return section
