"""A snapshot compiled for look-ups: from host and port to a route."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError, denied
from proxyd.core.exchange import Exchange
from proxyd.core.facade import Facade
from proxyd.core.limits import Limits
from proxyd.core.message import Response
from proxyd.core.route import Route
from proxyd.core.service import HostPattern, Service
from proxyd.core.snapshot import Listener, Snapshot

WEB_PORTS: Final = (80, 443)

MAX_BINDINGS: Final = 4096


class Binding(NamedTuple):
    """Where a request goes, once its target and Host were found to agree."""

    scheme: bytes
    """Of the upstream."""
    authority: Authority
    """Of the upstream."""
    route: Route
    facade: Facade | None = None
    """Set where the client knows the resource under another URL."""


class View:
    """What a worker routes by; replaced as a whole when a snapshot arrives."""

    __slots__ = (
        "_exact",
        "_names",
        "_whole",
        "_wild",
        "bindings",
        "limits",
        "listeners",
        "name_depth",
        "named",
        "router",
        "snapshot",
        "unknown",
        "via",
        "via_http2",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        services: list[tuple[Service, Route]],
        unknown: Route,
        router: Callable[[Exchange], Awaitable[Response]],
    ) -> None:
        self.snapshot = snapshot
        self.limits: Limits = snapshot.limits
        self.listeners: dict[str, Listener] = {listener.name: listener for listener in snapshot.listeners}
        self.named: dict[str, Route] = {service.name: route for service, route in services}
        """Routes of services by name."""
        self.name_depth = max((name.count("/") for name in self.named), default=0)
        """Slashes in the name that has the most."""
        self.unknown = unknown
        self.router = router
        self.via = f"via: 1.1 {snapshot.pseudonym}\r\n".encode("ascii")
        """Field line for responses that are passed on."""
        self.via_http2 = f"via: 2 {snapshot.pseudonym}\r\n".encode("ascii")
        """The same for those that came by HTTP/2."""
        self.bindings: dict[object, Binding] = {}
        """Bindings that were made before under this view; the server side fills it up to MAX_BINDINGS."""
        self._exact: dict[tuple[str, int], Route] = {}
        self._names: set[str] = set()
        self._whole: set[str] = set()
        """Names that a pattern without a port claims."""
        self._wild: list[tuple[HostPattern, Route]] = []
        for service, route in services:
            for pattern in service.hosts:
                if pattern.wildcard:
                    self._wild.append((pattern, route))
                    continue
                self._names.add(pattern.host)
                if pattern.port is None:
                    self._whole.add(pattern.host)
                for port in WEB_PORTS if pattern.port is None else (pattern.port,):
                    self._exact[pattern.host, port] = route

    def find(self, host: str, port: int) -> Route:
        """Return the route of a host and port.

        A pattern without a port claims its name: ProxyError 403 for any port but 80 and 443. A pattern with a port
        claims that port alone; the host's other ports are unknown hosts.
        """
        route = self._exact.get((host, port))
        if route is not None:
            return route
        for pattern, route in self._wild:
            if pattern.matches(host, port):
                return route
        if self._covers_name(host):
            raise denied(f"port {port} of {host} belongs to no service; name it in the service's hosts to allow it")
        return self.unknown

    def _covers_name(self, host: str) -> bool:
        return host in self._whole or any(
            pattern.port is None and _matches_name(pattern, host) for pattern, _ in self._wild
        )

    def names_service(self, host: str) -> bool:
        """Whether some service answers on this name, on whatever port."""
        return host in self._names or any(_matches_name(pattern, host) for pattern, _ in self._wild)

    def check_port(self, authority: Authority) -> ProxyError | None:
        """Return the refusal for an unknown host whose port ``egress.ports`` does not list."""
        ports = self.snapshot.egress.ports
        if not ports or authority.port in ports:
            return None
        return denied(f"{authority} belongs to no service, and its port is not listed in egress.ports")


def upstream_of(service: Service, authority: Authority) -> tuple[bytes, Authority]:
    """Return scheme and authority that a service is spoken to with, for the authority that the client used.

    A pattern without a port covers 80 and 443 alike, so there the scheme and port are the base URL's.
    """
    base = service.base
    if authority.port in WEB_PORTS and not any(
        pattern.port == authority.port and pattern.matches(authority.host, authority.port) for pattern in service.hosts
    ):
        port = base.port if authority.host == base.host else (443 if base.scheme == "https" else 80)
        if port != authority.port:
            authority = Authority(authority.host, port, authority.is_ip)
    return base.scheme.encode("ascii"), authority


def _matches_name(pattern: HostPattern, host: str) -> bool:
    """Whether a wildcard pattern matches a name, on whatever port."""
    return not pattern.host or host.endswith("." + pattern.host)
