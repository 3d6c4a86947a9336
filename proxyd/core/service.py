"""A third-party service: the hosts that it answers on, where it is dialled, and what it demands."""

import enum
from dataclasses import dataclass, field
from typing import Final

from proxyd.core.caching import CachePolicy
from proxyd.core.fallback import FallbackStep
from proxyd.core.idempotency import IdempotencyPolicy
from proxyd.core.limiting import Limit
from proxyd.core.limits import PoolLimits
from proxyd.core.resilience import Resilience
from proxyd.core.units import MIB
from proxyd.core.vendor import VendorLimits

UNIX: Final = "unix:"
"""What an address that is a Unix socket's path begins with."""


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry of a service's or a rule's ``hosts``.

    ``host`` is a normalised name or address; with ``wildcard`` it is a suffix that matches one or more labels
    before it (``*.example.com``), and the empty suffix (``*``) matches every host. ``port`` None covers 80 and 443.
    """

    host: str
    port: int | None = None
    wildcard: bool = False

    def matches(self, host: str, port: int, *, any_port: bool = False) -> bool:
        """Whether a normalised ``host`` and ``port`` are covered; ``any_port`` lets a missing port cover all."""
        if self.port is None:
            if not any_port and port not in (80, 443):
                return False
        elif port != self.port:
            return False
        if not self.wildcard:
            return host == self.host
        return not self.host or host.endswith("." + self.host)

    def __str__(self) -> str:
        """As the configuration spells it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.wildcard:
            host = f"*.{host}" if host else "*"
        return host if self.port is None else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A service's base URL, taken apart. ``path`` has no trailing slash and may be empty."""

    scheme: str
    host: str
    port: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address to dial: an IP address or a name, and a port; or a Unix socket."""

    host: str
    """``unix:PATH`` for a Unix socket, whose port is 0."""
    port: int
    weight: int = 1
    """Its share among the endpoints of its priority."""
    priority: int = 0
    """0 is used first; higher numbers carry what lower ones cannot."""

    @property
    def address(self) -> str:
        """As it is written: ``host:port``, ``[IPv6]:port`` or ``unix:PATH``."""
        return written(self.host, self.port)


def written(host: str, port: int) -> str:
    """Return an endpoint's address as it is written in a configuration."""
    if host.startswith(UNIX):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; 0 means no limit. ``first_byte`` counts from the last request byte, ``total`` from the head."""

    connect: float = 5.0
    first_byte: float = 60.0
    total: float = 0.0
    idle: float = 300.0
    per_try: float = 0.0
    """From the attempt's beginning to its response head."""
    tls: float = 0.0
    """The TLS handshake, within ``connect``."""
    head: float = 0.0
    """From a response head's first byte to its last; 0: ``first_byte`` bounds the whole head."""
    stream: float = 0.0
    """From the response head to the end of its body, or of an upgraded connection."""
    propagate: str = ""
    """Request header field that tells the upstream the milliseconds which an attempt has left; empty: none."""


class Version(enum.Enum):
    """Which version of HTTP a service is spoken to with."""

    HTTP1 = "http/1.1"
    AUTO = "auto"
    """HTTP/2 where ALPN chooses it; HTTP/1.1 over plain http."""
    HTTP2 = "h2"
    """HTTP/2 or nothing; over plain http by prior knowledge (RFC 9113 §3.3)."""


class PriorityClass(enum.Enum):
    """Who is refused first when a worker cannot keep up."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


DERIVED: Final = "token:"
"""What the names of secrets begin with that control obtains and renews (core.settings.TokenSource)."""

SCOPE: Final = "#"
"""Between such a name and what the token is for, where a vendor's challenge says that."""


def is_standing(name: str) -> bool:
    """Whether a secret is a token that control keeps at any time, and not one for a scope."""
    return name.startswith(DERIVED) and SCOPE not in name


@dataclass(frozen=True, slots=True)
class AuthPart:
    """One place that a secret goes to: a header field or a query parameter (unused by bearer and basic)."""

    name: str
    secret: str
    """Name of the secret."""
    prefix: str = ""
    """Literal text before the secret, such as ``Token ``."""


@dataclass(frozen=True, slots=True)
class Auth:
    """How a service's credential is presented. ``scheme`` is a key of proxyd.auth's registry."""

    scheme: str
    """``bearer``, ``basic``, ``header`` (one or more), ``query``, or one that signs or places."""
    parts: tuple[AuthPart, ...] = ()
    user: str = ""
    """``basic``: the user name in clear."""
    user_secret: str = ""
    """``basic``: the secret that holds the user name, where it is one."""
    keep: bool = False
    """Pass the client's own credential on instead when it sends one."""
    secrets: tuple[tuple[str, str], ...] = ()
    """Fields of a scheme that signs, each with the name of its secret: ``("access_key_id", "aws/id")``."""
    options: tuple[tuple[str, str], ...] = ()
    """What such a scheme is told in clear: ``("region", "eu-central-1")``."""
    hosts: tuple[HostPattern, ...] = ()
    """Where within the service it applies; empty: everywhere."""
    paths: tuple[str, ...] = ()
    """Prefixes of paths where it applies; empty: everywhere."""
    strip: tuple[str, ...] = ()
    """Further request header fields of the client that are removed, lower case."""
    strip_query: tuple[str, ...] = ()
    """Further query parameters of the client that are removed."""
    presigned: bool = False
    """A URL that carries a signature of its own passes untouched; else it is refused."""
    max_body: int = 8 * MIB
    """Bytes of a request body that are held at most, where a scheme signs or changes it."""

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Names of all its secrets, each once."""
        names = [self.user_secret, *(part.secret for part in self.parts), *(name for _, name in self.secrets)]
        return tuple(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """The version of a vendor's API that is asked for where the client asks for none."""

    name: str
    """A header field, lower case, or a query parameter."""
    value: str
    in_query: bool = False


@dataclass(frozen=True, slots=True)
class TokenRefusal:
    """How a vendor says, beside 401, that it accepts a token no longer."""

    statuses: tuple[int, ...]
    codes: tuple[str, ...] = ()
    """Texts in the body of such an answer, any of which says so; empty: the status says it alone."""


@dataclass(frozen=True, slots=True)
class Service:
    """A logical upstream and its policies."""

    name: str
    hosts: tuple[HostPattern, ...]
    base: BaseUrl
    endpoints: tuple[Endpoint, ...] = ()
    """Dialled in place of the resolved host; empty: resolve, unless there is a ``source``."""
    insecure: bool = False
    """A credential may go over plain http, and non-TLS bytes are served after CONNECT."""
    encoded_slash: bool = False
    """``%2F`` within a path segment is legitimate (GitLab, npm)."""
    auths: tuple[Auth, ...] = ()
    """How its credential is presented: the first that applies to a request's host and path, or none."""
    token_refusal: TokenRefusal | None = None
    """None: 401 alone says it."""
    version: PinnedVersion | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    pool: PoolLimits = field(default_factory=PoolLimits)
    resilience: Resilience = field(default_factory=Resilience)
    source: str = ""
    """Where ``endpoints`` come from when they are discovered, such as ``dns api.example``; empty: the configuration."""
    pending: bool = False
    """Discovery has not answered yet: what is known of the same source goes on, else ``endpoints`` are used."""
    priority_class: PriorityClass = PriorityClass.NORMAL
    fallback: tuple[FallbackStep, ...] = ()
    """What answers in its place when its attempts are exhausted, in this order."""
    protocol: Version = Version.HTTP1
    """gRPC is HTTP/2 whatever stands here, and an upgrade HTTP/1.1."""
    limits: tuple[Limit, ...] = ()
    vendor_limits: VendorLimits | None = None
    """None: what answers tell of the vendor's limits is not looked at."""
    cache: CachePolicy | None = None
    """None: nothing is kept."""
    idempotency: IdempotencyPolicy | None = None
    """None: keys of clients are the vendor's business."""
    proxy_protocol: str = ""
    """Version of the PROXY protocol whose header begins each connection (``v1``, ``v2``); empty: none does."""
