"""Where the endpoints of a service are found, when they are not written down."""

from dataclasses import dataclass
from typing import Final

MAX_ENDPOINTS: Final = 1024
"""Endpoints of one service; what is found beyond them is left out and said."""
MAX_WEIGHT: Final = 1000
MAX_PRIORITY: Final = 15


@dataclass(frozen=True, slots=True)
class Dns:
    """The A and AAAA records of a name."""

    host: str
    port: int
    servers: tuple[tuple[str, int], ...] = ()
    """Resolvers, address and port; empty: those of /etc/resolv.conf."""

    def __str__(self) -> str:
        return f"dns {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Srv:
    """The SRV records of a name (RFC 2782), and the addresses of their targets."""

    name: str
    servers: tuple[tuple[str, int], ...] = ()
    """As above."""

    def __str__(self) -> str:
        return f"srv {self.name}"


@dataclass(frozen=True, slots=True)
class ListFile:
    """A file with a list of endpoints, JSON or YAML, read again when it changes."""

    path: str
    """Absolute."""

    def __str__(self) -> str:
        return f"file {self.path}"


@dataclass(frozen=True, slots=True)
class Slices:
    """The EndpointSlices of a Kubernetes service."""

    service: str
    namespace: str
    """Empty: the pod's own."""
    slice_port: str
    """Name or number of a port in the slices."""
    api: str = ""
    """``https://host:port``; empty: what the pod's environment says."""
    token_file: str = ""
    """Absolute; empty: the service account's."""
    ca_file: str = ""
    """Absolute; empty: the service account's."""

    def __str__(self) -> str:
        return f"kubernetes {self.namespace or '(own namespace)'}/{self.service}:{self.slice_port}"


Finder = Dns | Srv | ListFile | Slices


@dataclass(frozen=True, slots=True)
class Discovery:
    """One service's ``discover`` section."""

    service: str
    finder: Finder
