"""Who may call what: an ordered list of rules, the first match decides.

A rule that names services judges services; a rule that names hosts judges hosts that are no service.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from proxyd.core.service import HostPattern


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. An empty tuple is a condition not made; conditions made must all hold."""

    allow: bool
    services: tuple[str, ...] = ()
    """Service names; ``*`` is every service."""
    hosts: tuple[HostPattern, ...] = ()
    """Patterns for hosts that are no service; a pattern without a port covers every port."""
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Prefixes by whole segments of the upstream path."""
    uids: tuple[int, ...] = ()
    gids: tuple[int, ...] = ()
    users: tuple[str, ...] = ()
    """Names that passed proxy authentication."""
    cidrs: tuple[str, ...] = ()
    line: int = 0
    """Line in the configuration, for explanations."""

    @property
    def is_unconditional(self) -> bool:
        """Whether it judges every request of every caller alike, among those that it concerns."""
        some_hosts = any(pattern.host or not pattern.wildcard or pattern.port is not None for pattern in self.hosts)
        return not (some_hosts or self.judges_paths or self.uids or self.gids or self.users or self.cidrs)

    @property
    def judges_paths(self) -> bool:
        """Whether the rule looks into the request and not only at its authority."""
        return bool(self.methods or self.paths)


@dataclass(frozen=True, slots=True)
class Access:
    """The ``access:`` section."""

    rules: tuple[Rule, ...] = ()
    allow_by_default: bool = False


@dataclass(frozen=True, slots=True)
class ProxyUser:
    """One user of Basic proxy authentication; ``secret`` names the password."""

    name: str
    secret: str


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(cidrs: Sequence[str]) -> tuple[Network, ...]:
    """Parse CIDRs that the configuration has validated."""
    return tuple(ipaddress.ip_network(cidr) for cidr in cidrs)
