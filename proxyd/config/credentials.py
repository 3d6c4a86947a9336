"""How a service that uses the catalogue names its secrets and options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxyd.core.catalogue import KnownService
from proxyd.core.service import TokenRefusal
from proxyd.core.settings import Consent, SecretForm, TokenSource
from proxyd.core.vendor import VendorDefinition
from proxyd.reading import names
from proxyd.reading.problems import Mistake, kind_of, shown
from proxyd.reading.readers import Reader


@dataclass(frozen=True, slots=True)
class Expansion:
    """What the definitions that are used add to the settings beside what they put into services."""

    tokens: tuple[TokenSource, ...] = ()
    consents: tuple[Consent, ...] = ()
    forms: Mapping[str, SecretForm] = field(default_factory=dict)
    """By the name of the secret."""
    known: tuple[KnownService, ...] = ()
    vendors: Mapping[str, VendorDefinition] = field(default_factory=dict)
    """By the name of the service."""
    refusals: Mapping[str, TokenRefusal] = field(default_factory=dict)
    """By the name of the service, where 401 is not the only one."""
    shipped: frozenset[str] = frozenset()
    """Services whose credential is presented as a definition says that ships with proxyd."""


USES: Final = ("use", "secret", "options", "scheme")
"""Keys of a service that ask for a definition of the catalogue."""


def is_use(service: dict[str, Any]) -> bool:
    """Whether the section asks for a definition."""
    return any(key in service for key in USES)


@dataclass(frozen=True)
class SecretOrFields(Reader):
    """The name of a secret, or a map of fields to such names."""

    def read(self, value: Any) -> str | dict[str, str]:
        """Return the name or the map."""
        if not isinstance(value, dict):
            return names.name(value)
        if not value:
            raise Mistake("the map is empty", "a field and the name of its secret")
        return {names.field_name(field): _named(field, item) for field, item in value.items()}

    def schema(self) -> dict[str, Any]:
        """Return the schema of both forms."""
        name = {"type": "string", "format": "secret", "pattern": names.NAME_PATTERN}
        keys = {"pattern": names.FIELD_PATTERN}
        return {"anyOf": [name, {"type": "object", "additionalProperties": name, "propertyNames": keys}]}


@dataclass(frozen=True)
class OptionValue(Reader):
    """Text, or a number that is text."""

    def read(self, value: Any) -> str:
        """Return the text."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Mistake(f"{kind_of(value)} stands here", "text")
        return names.plain_text(str(value))

    def schema(self) -> dict[str, Any]:
        """Return the schema of both forms."""
        return {"type": ["string", "integer"], "format": "text"}


def _named(field: str, value: object) -> str:
    try:
        return names.name(value)
    except Mistake as mistake:
        raise Mistake(f"{shown(field)}: {mistake}") from None
