"""A snapshot: all that a worker needs to know, frozen and versioned.

Secrets are not in it: they travel as credentials of their own and are looked up by name.
"""

import enum
from dataclasses import dataclass, field
from typing import Final

from proxyd.core.access import Access, ProxyUser
from proxyd.core.limits import Limits, Overload, PoolLimits
from proxyd.core.service import UNIX, Service, Timeouts

GATEWAY_TOKEN: Final = "gateway:token"  # noqa: S105 - a name, and one that no configured secret can have
"""The credential that holds the token of gateways on TCP."""


class UnknownHosts(enum.Enum):
    """What a forward listener does with CONNECT to a host that is no service."""

    TUNNEL = "tunnel"
    DENY = "deny"
    INTERCEPT = "intercept"


class ListenerMode(enum.Enum):
    """What a listener speaks."""

    FORWARD = "forward"
    """An HTTP forward proxy."""
    GATEWAY = "gateway"
    """A plain server in front of the services: their base URLs by name."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening address. The socket itself arrives beside the snapshot, under the same name."""

    name: str
    mode: ListenerMode
    address: str
    """``host:port`` as configured (port 0: chosen by the kernel), or ``unix:/path``."""
    unknown_hosts: UnknownHosts = UnknownHosts.TUNNEL
    users: tuple[ProxyUser, ...] = ()
    """Basic proxy authentication; empty: not demanded."""
    origins: tuple[str, ...] = ()
    """Gateway: origins of web pages that may use it, as browsers write them."""
    open: bool = False
    """Gateway on TCP: no token is demanded."""
    http2: bool = True
    """Clients may speak HTTP/2."""
    proxies: tuple[str, ...] = ()
    """CIDRs of proxies whose connections must begin with a header of the PROXY protocol; empty: none is read."""

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return self.address.startswith(UNIX)


@dataclass(frozen=True, slots=True)
class Egress:
    """Where unknown hosts may be."""

    allow: tuple[str, ...] = ()
    """CIDRs that are dialled although they are not public."""
    ports: tuple[int, ...] = (80, 443)
    """Ports of unknown hosts; empty: every port."""
    own: tuple[str, ...] = ()
    """proxyd's own listeners and admin addresses (``ip:port``, as bound): never dialled."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the configuration, compiled for workers."""

    version: int
    pseudonym: str
    """This instance's name in ``Via``; a request that carries it already loops (508)."""
    daemon_uid: int
    listeners: tuple[Listener, ...] = ()
    services: tuple[Service, ...] = ()
    access: Access | None = None
    """None: services are for the daemon's own uid, unknown hosts follow the listener."""
    egress: Egress = field(default_factory=Egress)
    limits: Limits = field(default_factory=Limits)
    overload: Overload = field(default_factory=Overload)
    shares_limits: bool = False
    """Other hosts take part in the limits: every token is a lease."""
    unknown_timeouts: Timeouts = field(default_factory=Timeouts)
    unknown_pool: PoolLimits = field(default_factory=PoolLimits)
    extra_roots_pem: bytes = b""
    """PEM of ``tls.extra_roots``, trusted besides the system's store."""
    drain_old: float = 300.0
    """Seconds that a tunnel or stream may go on after a reload that forbids it."""
    drain_timeout: float = 30.0
    """Seconds that SIGTERM waits for exchanges and tunnels."""
    workers: int = 1
    """How many workers share the thresholds of services; one alone counts for itself."""
    access_log: bool = False
    """Whether exchanges are to be reported one by one."""
