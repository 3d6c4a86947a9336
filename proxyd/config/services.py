"""The section of a service: its hosts, and what happens to requests for them."""

from typing import Annotated, Literal

from pydantic import Field

from proxyd.catalog.auth import AnyAuth
from proxyd.config.caching import CacheSection
from proxyd.config.credentials import OptionValue, SecretOrFields
from proxyd.config.discovery import DiscoverSection
from proxyd.config.fallback import FallbackSection
from proxyd.config.idempotency import IdempotencySection
from proxyd.config.limiting import LimitSection
from proxyd.config.resilience import EndpointSection, ResilienceKeys
from proxyd.config.upstreams import PoolSection, TimeoutsSection
from proxyd.config.vendor_limits import VendorLimitsSection
from proxyd.config.version import VersionSection
from proxyd.core.service import BaseUrl, HostPattern
from proxyd.reading import addresses
from proxyd.reading.readers import SeveralMaps, Short, Text
from proxyd.reading.sections import Section
from proxyd.reading.values import FieldName, Name


class ServiceKeys(Section):
    """What a service is; a base of its section."""

    use: Name = ""
    """A service of the catalogue. Not needed where this one has its name and a `secret`."""
    secret: Annotated[str | dict[str, str], SecretOrFields()] = ""
    """Name of the secret for `use`, or a map: field of the definition to name of the secret."""
    options: dict[FieldName, Annotated[str, OptionValue()]] = {}
    """What the definition needs to know beside secrets, such as a region."""
    scheme: FieldName = ""
    """Which of the definition's schemes. Without it: the first that the fields given are for."""
    hosts: Annotated[list[Annotated[HostPattern, Text(addresses.host_pattern, "host")]], Field(min_length=1)] = []
    """Hosts of the service: `api.example.com`, `*.example.com`, `host:port`, which cover 80 and 443 without a port."""
    base_url: Annotated[BaseUrl, Text(addresses.base_url, "url")] | None = None
    """Scheme and authority towards the service. Without it: `https://` and the first host."""
    endpoints: list[Annotated[EndpointSection, Short("address")]] = []
    """Dial these addresses instead of resolving the host: `host:port`, or a map with weight and priority."""
    discover: DiscoverSection | None = None
    """Look for endpoints elsewhere; those above are used until something was found."""
    protocol: Literal["http/1.1", "auto", "h2"] = "http/1.1"
    """`auto`: HTTP/2 where TLS negotiates it. `h2`: nothing else; over plain http by prior knowledge. See the guide."""
    insecure: bool = False
    """The credential may go over plain http."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """Begin each connection with a header of the PROXY protocol that tells of the client. Without it: none."""
    encoded_slash: bool = False
    """`%2F` within a path segment is legitimate (GitLab, npm)."""
    auth: Annotated[list[AnyAuth], Field(min_length=1, max_length=32), SeveralMaps()] = []
    """The credential that is added; of several, the first whose `hosts` and `paths` cover a request. None: none."""
    version: VersionSection | None = None
    """The version of the vendor's API, for requests that name none."""
    timeouts: TimeoutsSection = TimeoutsSection()
    """How long each phase may take."""
    pool: PoolSection = PoolSection()
    """Bounds of the connections to the service."""
    priority_class: Literal["low", "normal", "high"] = "normal"
    """`low` is refused first when a worker cannot keep up, `high` last (`overload`)."""
    limits: Annotated[list[LimitSection], Field(max_length=64)] = []
    """How many requests, how fast, for whom. Those that name the caller count before the cache, others per attempt."""
    vendor_limits: VendorLimitsSection | None = None
    """Keep to the vendor's own limits, as its answers tell of them. Without it: they are not looked at."""
    cache: CacheSection | None = None
    """Keep answers and give them again, as their headers allow. Without it: none."""
    idempotency: IdempotencySection | None = None
    """Honour clients' idempotency keys in the vendor's place: `{}` is enough. Without it: they are passed on."""
    fallback: Annotated[list[FallbackSection], Field(max_length=8)] = []
    """What answers when all attempts have failed, in this order. Without it: the failure goes to the client."""


class ServiceSection(ResilienceKeys, ServiceKeys):
    """A third-party service: the hosts that it answers on and what it demands."""
