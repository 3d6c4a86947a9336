"""Which definition a host belongs to, and what a configuration would say of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from proxyd.catalog.shelf import Shelf
from proxyd.catalog.summary import plain
from proxyd.catalog.templates import OPTION, host_text, varied

_LABEL: Final = "[a-z0-9-]+"


@dataclass(slots=True)
class Found:
    """A service of the catalogue that hosts belong to."""

    name: str
    title: str
    hosts: list[str] = field(default_factory=list)
    """Those that were asked about."""
    are_own: bool = False
    """They are the user's, so that a configuration must name them."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Names of secrets that one would store, by field of the preferred scheme."""
    options: dict[str, str] = field(default_factory=dict)
    """What else it needs, as far as hosts tell it; an ellipsis where they do not."""
    defaults: dict[str, str] = field(default_factory=dict)
    """What options are when nobody says it."""
    others: dict[str, None] = field(default_factory=dict)
    """Names of further services that live on such hosts."""
    where: dict[str, str] = field(default_factory=dict)
    """Where the vendor shows each of them, by field."""

    @property
    def section(self) -> str:
        """The lines of a configuration, below ``services``."""
        lines = [f"  {self.name}:"]
        if self.are_own:
            lines.append(f"    hosts: [{', '.join(self.hosts)}]")
        if len(self.secrets) == 1 and not self.options:
            lines.append(f"    secret: {next(iter(self.secrets.values()))}")
        elif self.secrets:
            lines.append("    secret: {" + ", ".join(f"{key}: {name}" for key, name in self.secrets.items()) + "}")
        if self.options:
            lines.append("    options: {" + ", ".join(f"{key}: {value}" for key, value in self.options.items()) + "}")
        return "\n".join(lines) + "\n"


def recognise(wanted: Iterable[str], shelf: Shelf | None = None) -> tuple[list[Found], list[str]]:
    """Return the services that the hosts belong to, and the hosts that none knows; exact names go before patterns."""
    patterns = _patterns(shelf or Shelf())
    found: dict[str, Found] = {}
    unknown: list[str] = []
    for host in wanted:
        hits = [(one, match) for one in patterns if (match := one.text.fullmatch(host))]
        if not hits:
            unknown.append(host)
            continue
        pattern, match = hits[0]
        one = found.setdefault(pattern.definition["name"], _found(pattern.definition))
        names = dict.fromkeys(other.definition["name"] for other, _ in hits if other.is_own == pattern.is_own)
        one.others |= dict.fromkeys(name for name in names if name != one.name)
        one.hosts.append(host)
        one.are_own = one.are_own or pattern.is_own
        one.options |= {name: value for name, value in match.groupdict().items() if _is_told(one, name, value)}
    return list(found.values()), unknown


class _Pattern(NamedTuple):
    text: re.Pattern[str]
    """Its groups are options."""
    definition: Mapping[str, Any]
    is_own: bool
    """What it matches is the user's."""


def _patterns(shelf: Shelf) -> Sequence[_Pattern]:
    """Return the hosts of all definitions, the surest first."""
    exact: list[_Pattern] = []
    wide: list[_Pattern] = []
    for path in (shelf.find(name) for name in shelf.names()):
        if path is None:
            continue
        definition = plain(path)
        for host in varied((str(host_text(one)) for one in definition.get("hosts", [])), definition.get("vary", {})):
            is_exact = "*" not in host and not OPTION.search(host)
            (exact if is_exact else wide).append(_Pattern(_pattern(host, definition["fields"]), definition, False))
        suffixes = (definition.get("your_hosts") or {}).get("suffixes", [])
        wide += [_Pattern(_pattern(suffix, definition["fields"]), definition, True) for suffix in suffixes]
    return [*exact, *wide]


def _pattern(host: str, fields: Mapping[str, Any]) -> re.Pattern[str]:
    """Return the expression of a host: a group for each option, as wide as its own pattern."""
    seen: set[str] = set()
    texts: list[str] = []
    for part in re.split(r"(\{[a-z0-9_]+\}|\*)", host.lower()):
        name = part[1:-1] if part[:1] == "{" else ""
        if part == "*":
            texts.append(rf"(?:{_LABEL}\.)*{_LABEL}")
        elif name in fields and name not in seen:
            texts.append(f"(?P<{name}>{fields[name].get('pattern') or _LABEL})")
            seen.add(name)
        else:
            texts.append(_LABEL if name else re.escape(part))
    return re.compile("".join(texts))


def _found(definition: Mapping[str, Any]) -> Found:
    fields = definition["fields"]
    scheme = min(definition["schemes"], key=lambda one: _effort(one, fields))
    made = Found(definition["name"], definition["title"], defaults=_defaults(fields))
    for name in scheme.get("fields", ()):
        about = fields[name]
        made.where[name] = ": ".join(part for part in (about["title"], about.get("where", "")) if part)
        if about.get("secret", True):
            made.secrets[name] = f"{definition['name']}/{name.replace('_', '-')}"
        elif "default" not in about:
            made.options[name] = "…"
    return made


def _effort(scheme: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """Order schemes by what a user must find: one that needs nothing (a machine's own identity) is a guess here."""
    names = scheme.get("fields", ())
    options = sum(not fields[name].get("secret", True) for name in names)
    return not names, "token" in scheme, options


def _defaults(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: about["default"] for name, about in fields.items() if "default" in about}


def _is_told(found: Found, name: str, value: str | None) -> bool:
    return bool(value) and value != found.defaults.get(name)
