"""Values of a definition that may have options in braces: hosts and URLs."""

from dataclasses import dataclass
from typing import Any

from proxyd.catalog.templates import BASE_URL, BUILT_IN, OPTION, PART, composed
from proxyd.reading import addresses
from proxyd.reading.problems import Mistake, kind_of
from proxyd.reading.readers import Reader


@dataclass(frozen=True)
class HostTemplate(Reader):
    """A host pattern, whose labels may be options in braces; ``{name: …, domain: …}`` is the two with a dot between."""

    def read(self, value: Any) -> str:
        """Return the pattern as text."""
        text = composed(value) if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise Mistake(f"{kind_of(value)} stands here", "a host such as api.example.com, or {name: …, domain: …}")
        if not set(BUILT_IN) & set(OPTION.findall(text)):
            addresses.host_pattern(OPTION.sub("x", text))
        return text

    def schema(self) -> dict[str, Any]:
        """Return the schema of both forms."""
        part = {"type": "string", "pattern": f"^{PART.pattern}$"}
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
