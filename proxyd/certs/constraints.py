"""Which hosts leaves may be minted for, and the name constraints that make a verifier agree.

What is not named is excluded: with names alone, all addresses (0.0.0.0/0 and ::/0); with addresses alone, all names
(the CA/Browser Forum's Baseline Requirements §7.1.2.5.2 prescribe exactly these two forms).
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509

from proxyd.core.authority import normalise_host
from proxyd.core.service import HostPattern


@dataclass(frozen=True, slots=True)
class Constraints:
    """The hosts that leaves may name."""

    exact: frozenset[str] = frozenset()
    """Normalised names and addresses."""
    suffixes: frozenset[str] = frozenset()
    """``example.com`` for ``*.example.com``."""
    unconstrained: bool = False
    """Every host."""

    @classmethod
    def of(cls, hosts: Iterable[HostPattern], unconstrained: bool = False) -> "Constraints":
        """Collect patterns; their ports do not matter to a certificate. ValueError: a pattern for every host."""
        hosts = tuple(hosts)
        if not unconstrained and any(pattern.wildcard and not pattern.host for pattern in hosts):
            raise ValueError("a service that answers on every host cannot be intercepted: name its hosts")
        return cls(
            frozenset(pattern.host for pattern in hosts if not pattern.wildcard),
            frozenset(pattern.host for pattern in hosts if pattern.wildcard and pattern.host),
            unconstrained,
        )

    def __bool__(self) -> bool:
        return self.unconstrained or bool(self.exact or self.suffixes)

    def allow(self, host: str) -> bool:
        """Whether a leaf for the normalised ``host`` may be minted."""
        if self.unconstrained or host in self.exact:
            return True
        return any(host.endswith("." + suffix) for suffix in self.suffixes) and not normalise_host(host)[1]

    def extension(self) -> x509.NameConstraints | None:
        """Return the extension for the intermediate; None: no constraint."""
        if self.unconstrained:
            return None
        names: set[str] = set(self.suffixes)
        addresses: set[str] = set()
        for host in self.exact:
            (addresses if normalise_host(host)[1] else names).add(host)
        permitted: list[x509.GeneralName] = [x509.DNSName(item) for item in sorted(names)]
        permitted += [x509.IPAddress(ipaddress.ip_network(item)) for item in sorted(addresses)]
        excluded: list[x509.GeneralName] = []
        if not names:
            excluded.append(x509.DNSName(""))
        if not addresses:
            excluded += [x509.IPAddress(ipaddress.ip_network(text)) for text in ("0.0.0.0/0", "::/0")]
        return x509.NameConstraints(permitted, excluded or None)
