"""The catalogue as plain rows, as `proxyd services --catalogue` prints them. No models: it is to answer at once."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from proxyd.catalog.shelf import Shelf
from proxyd.catalog.templates import HOST, fill, host_text, varied
from proxyd.reading.files import text_of
from proxyd.reading.tree import read

CATEGORIES: Final = ("cloud", "monitoring", "development")
"""Those of the catalogue proper; ``other`` services are known besides."""

ANY_HOST: Final = f"{{{HOST}}}"
"""Stands for a host that only the user can name."""


def rows(*, everything: bool = False) -> list[dict[str, Any]]:
    """Return the services of the three categories, or of all, as the catalogue orders them."""
    shelf = Shelf()
    found = [row(plain(path)) for path in (shelf.find(name) for name in shelf.names()) if path is not None]
    order = {category: number for number, category in enumerate((*CATEGORIES, "other"))}
    return sorted(
        (one for one in found if everything or one["category"] in CATEGORIES),
        key=lambda one: (order[one["category"]], one["title"].casefold()),
    )


def plain(path: Path) -> dict[str, Any]:
    """Return what the file at ``path`` says, without a look whether that is right; ConfigError: it is not YAML."""
    value: dict[str, Any] = read(text_of(path, "name another one"), str(path)).value
    return value


def row(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return one service."""
    fields: dict[str, dict[str, Any]] = definition["fields"]
    yours = definition.get("your_hosts") or {}
    return {
        "name": definition["name"],
        "title": definition["title"],
        "category": definition["category"],
        "about": definition.get("about", ""),
        "hosts": hosts(definition),
        "your_hosts": {
            "suffixes": yours.get("suffixes", []),
            "self_hosted": yours.get("self_hosted", False),
            "example": yours.get("example", ""),
        },
        "schemes": [scheme["name"] for scheme in definition["schemes"]],
        "presented": _distinct(one["scheme"] for scheme in definition["schemes"] for one in scheme["apply"]),
        "flows": _distinct(scheme["token"]["flow"] for scheme in definition["schemes"] if "token" in scheme),
        "fields": [
            {
                "name": name,
                "title": field["title"],
                "where": field.get("where", ""),
                "secret": field.get("secret", True),
                "environment": field.get("environment", []),
            }
            for name, field in fields.items()
        ],
        "probe": {"method": "GET", "expect": [200]} | definition["probe"],
        "environment": environment(definition),
        "version": (definition.get("version") or {}).get("value", ""),
        "status_page": definition.get("status_page", ""),
        "documentation": definition["documentation"],
        "proof": {"clients": [], "against": "double"} | (definition.get("proof") or {}),
    }


def hosts(definition: Mapping[str, Any]) -> list[str]:
    """Return the vendor's hosts, options at their defaults, and ``{host}`` where the user may name one."""
    defaults = {name: field["default"] for name, field in definition["fields"].items() if "default" in field}
    templates = [str(host_text(host)) for host in definition.get("hosts", [])]
    found = [fill(host, defaults) for host in varied(templates, definition.get("vary", {}))]
    return found + ([ANY_HOST] if definition.get("your_hosts") else [])


def environment(definition: Mapping[str, Any]) -> list[str]:
    """Return the variables of the official tools."""
    said = definition.get("environment") or {}
    keys = ("environment", "environment_files")
    fields = (name for field in definition["fields"].values() for key in keys for name in field.get(key, []))
    return _distinct([*fields, *said.get("urls", []), *said.get("others", [])])


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
