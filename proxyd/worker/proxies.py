"""Listeners behind proxies: whose word about a client counts (PROXY protocol), and what it changes."""

import ipaddress
from collections.abc import Callable
from typing import Final

import trio

from proxyd.core import metrics
from proxyd.core.access import Network, networks
from proxyd.core.exchange import Peer
from proxyd.core.view import View
from proxyd.downstream.entry import Served
from proxyd.downstream.proxied import Proxied
from proxyd.wire.proxy_protocol import Header, plain
from proxyd.worker.meter import Meter

QUIET_SECONDS: Final = 60.0
"""Between two notices of one listener for one reason."""

Told = Callable[[str, str, str], None]
"""Level, name and words of a notice."""
Renamed = Callable[[Peer, str, int], bool]
"""Counts a peer under the address and port that were told; False where that one has too many connections."""


class Proxies:
    """Who may begin connections with a header."""

    def __init__(self, meter: Meter, notice: Told, renamed: Renamed) -> None:
        self._meter = meter
        self._notice = notice
        self._renamed = renamed
        self._networks: dict[str, tuple[Network, ...]] = {}
        self._noticed: dict[tuple[str, str], float] = {}
        self._seconds = 0.0

    def apply(self, view: View) -> None:
        """Go by a new snapshot."""
        self._seconds = view.limits.head_timeout
        listeners = view.listeners.values()
        self._networks = {one.name: networks(one.proxies) for one in listeners if one.proxies}
        self._noticed = {key: at for key, at in self._noticed.items() if key[0] in self._networks}

    def refuses(self, peer: Peer) -> bool:
        """Whether a connection is closed since its peer is none of the listener's proxies."""
        try:
            address = ipaddress.ip_address(plain(ipaddress.ip_address(peer.address.partition("%")[0])))
        except ValueError:  # a Unix socket
            address = None
        if address is not None and any(address in network for network in self._networks[peer.listener]):
            return False
        self._refused(peer, "proxy", "is none of the proxies that proxy_protocol.from lists")
        return True

    def begin(self, connection: Served) -> Served:
        """Have a connection begin with the header."""
        peer = connection.entry.peer

        def told(header: Header) -> bool:
            if not header.is_local:
                peer.looked_up = True  # the kernel knows the proxy's uid alone
            return header.source is None or self._renamed(peer, *header.source)

        return Proxied(
            connection, self._seconds, told, lambda why: self._refused(peer, "proxy_header", f"sent no header: {why}")
        )

    def _refused(self, peer: Peer, reason: str, words: str) -> None:
        self._meter.counter(metrics.REFUSED_CONNECTIONS, reason).value += 1
        now, key = trio.current_time(), (peer.listener, reason)
        if now - self._noticed.get(key, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._noticed[key] = now
            self._notice("warning", "proxy_refused", f"{peer.text} {words}; listener {peer.listener} closed it")
