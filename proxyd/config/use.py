"""A service that uses a definition of the catalogue, with what its section says."""

from dataclasses import dataclass

from proxyd.catalog.credentials import SchemeSection
from proxyd.catalog.definition import Definition
from proxyd.catalog.templates import BASE_HOST, BASE_URL, HOST
from proxyd.config.choice import Given
from proxyd.config.presentation import Names, names_of
from proxyd.core.service import BaseUrl, HostPattern
from proxyd.reading.addresses import base_url
from proxyd.reading.views import parsed


@dataclass(frozen=True, slots=True)
class Use:
    """A service that uses a definition."""

    definition: Definition
    scheme: SchemeSection | None
    """None: the service has an ``auth`` of its own, or no credential could be chosen."""
    given: Given
    hosts: tuple[str, ...]
    base: str
    """The base URL; empty where it is not known."""
    token: str = ""
    """Name of the secret, or what the names of the secrets begin with, that the token's flow yields; empty: no flow."""
    is_shipped: bool = False
    """The definition is one of proxyd's own."""

    @property
    def names(self) -> Names:
        """What stands behind the fields of the scheme."""
        assert self.scheme is not None
        secrets = self.given.of_scheme(self.scheme, self.definition)
        return names_of(self.scheme, secrets, self.token, self.values)

    @property
    def values(self) -> dict[str, str]:
        """Options, the first host, and the base URL and its host."""
        base = parsed(base_url, self.base)
        found = {HOST: self.hosts[0]} if self.hosts else {}
        found |= {BASE_URL: self.base.rstrip("/"), BASE_HOST: authority(base)} if base is not None else {}
        return {**self.given.options, **found}


def authority(base: BaseUrl) -> str:
    """Return host and port of a base URL as a host pattern has them."""
    return str(HostPattern(base.host, None if base.port in (80, 443) else base.port))
