"""The egress guard: which addresses may be dialled. It judges addresses after resolution, never names.

Three verdicts. proxyd's own listeners, link-local and metadata addresses are refused always. Everything else that
is not a public unicast address is refused unless it is a service's configured endpoint or ``egress.allow`` covers
it. An IPv6 address that embeds an IPv4 address is judged by its own form and by what it embeds, since a translator
or relay may deliver it there.
"""

import socket
from typing import Final

from proxyd.core.access import Network, networks
from proxyd.core.snapshot import Egress
from proxyd.net.ranges import Address, always_refused, embedded_ipv4, mapped_ipv4, not_public, parse

MAX_VERDICTS: Final = 4096
"""Addresses whose verdict is kept; the oldest goes first."""

OWN: Final = "an address of proxyd itself"
NO_ADDRESS: Final = "not an IP address"

_Verdict = tuple[str | None, str | None]
"""Why an address is refused to unknown hosts, and to configured endpoints."""


class Guard:
    """The guard of one snapshot's ``egress:`` section. ValueError where ``own`` holds anything but ``ip:port``."""

    def __init__(self, egress: Egress) -> None:
        self._allow: tuple[Network, ...] = networks(egress.allow)
        self._own: dict[int, list[Address]] = {}
        for text in egress.own:
            host, _, port = text.rpartition(":")
            address = parse(host.strip("[]"))
            if address is None or not port.isdecimal():
                raise ValueError(f"egress.own: {text!r} is not ip:port")  # a listener left out would be unprotected
            self._own.setdefault(int(port), []).append(address)
        self._verdicts: dict[str, _Verdict] = {}

    def check(self, address: str, port: int, *, configured: bool = False) -> str | None:
        """Return None where ``address`` may be dialled, else the reason in a few words.

        ``configured`` says that the address is a service's own endpoint and not what a name resolved to.
        """
        if port in self._own and self._is_own(address, port):
            return OWN
        verdict = self._verdicts.get(address)
        if verdict is None:
            verdict = self._judge(address)
        return verdict[configured]

    def _judge(self, text: str) -> _Verdict:
        address = parse(text)
        if address is None:
            return NO_ADDRESS, NO_ADDRESS  # not kept: such text has no bound
        verdict = self._verdict(address)
        if len(self._verdicts) >= MAX_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[text] = verdict
        return verdict

    def _verdict(self, address: Address) -> _Verdict:
        embedded = embedded_ipv4(address)
        for part in (address, *embedded):
            reason = always_refused(part)
            if reason is not None:
                reason = reason if part is address else f"{not_public(address)} that embeds {reason}"
                return reason, reason
        mapped = mapped_ipv4(address)
        if mapped is not None and self._is_allowed(mapped):
            return None, None  # the kernel dials the IPv4 address itself
        reason = None if self._is_allowed(address) else not_public(address)
        if reason is None:
            for part in embedded:
                inner = None if self._is_allowed(part) else not_public(part)
                if inner is not None:
                    reason = f"an address that embeds {inner}"
        return (None, None) if reason is None else (f"{reason}, which `egress.allow` does not name", None)

    def _is_allowed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allow)

    def _is_own(self, text: str, port: int) -> bool:
        address = parse(text)
        if address is None:
            return False
        for part in (address, *embedded_ipv4(address)):
            for own in self._own[port]:
                own = mapped_ipv4(own) or own
                if part == own or (part.is_unspecified and (own.is_loopback or own.is_unspecified)):
                    return True
                if own.is_unspecified and (part.is_loopback or _is_local(part)):
                    return True
        return False


def _is_local(address: Address) -> bool:
    """Whether the kernel holds ``address`` on an interface: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
