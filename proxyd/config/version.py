"""The section of a service that pins the version of the vendor's API."""

from typing import Annotated, Any

from proxyd.core.service import PinnedVersion
from proxyd.reading import names
from proxyd.reading.problems import Trail, describe
from proxyd.reading.readers import Text
from proxyd.reading.sections import Section
from proxyd.reading.tree import Tree
from proxyd.reading.values import HeaderName, Prefix


class VersionSection(Section):
    """A version of the vendor's API: exactly one of `header` and `query`, and the `value`."""

    header: HeaderName = ""
    """The header field that carries it."""
    query: Annotated[str, Text(names.query_name, "parameter")] = ""
    """Or the query parameter."""
    value: Prefix
    """The version."""

    def compiled(self) -> PinnedVersion:
        """Return the noun."""
        return PinnedVersion(self.header or self.query, self.value, in_query=bool(self.query))


def check_version(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    """Report what only several values show."""
    section = service.get("version")
    if isinstance(section, dict) and ("header" in section) == ("query" in section):
        found = "both are given" if "header" in section else "none is given"
        tree.add((*trail, "version"), describe(found, "exactly one of header and query"), at_key=True)
