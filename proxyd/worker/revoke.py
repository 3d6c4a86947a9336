"""What a new snapshot, or a secret that was removed, says of what runs already."""

from collections.abc import Callable, Collection, Mapping

import trio

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.route import Route
from proxyd.core.snapshot import Listener, UnknownHosts
from proxyd.core.view import View
from proxyd.downstream.entry import Entry, Served

Judgement = Callable[[Served, Exchange], bool]
"""Whether an exchange of a connection is to end, all things considered."""


class Revoker:
    """Ends what is not allowed any more, within ``drain_old``."""

    def __init__(self, connections: Collection[Served], nursery: trio.Nursery) -> None:
        self._connections = connections
        self._nursery = nursery
        self._view: View | None = None

    def revise(self, view: View) -> None:
        """Judge what runs by a new snapshot."""
        self._view = view
        for connection in self._connections:
            entry = connection.entry
            listener = view.listeners.get(entry.listener.name)
            if listener is not None:
                entry.listener = listener
            exchanges = [one for one in connection.exchanges if is_forbidden(one, entry, view, listener)]
            self._end(connection, exchanges, self._is_forbidden)
            if is_forbidden(None, entry, view, listener):
                if connection.exchanges:
                    connection.drain(gentle=True)
                else:
                    connection.stream.expire("revoked")

    def revoke(self, values: Mapping[str, bytes], name: str, removed: bytes) -> None:
        """End what uses a secret that was removed, unless the same value comes back."""

        def is_gone(connection: Served, exchange: Exchange) -> bool:
            return values.get(name) != removed

        for connection in self._connections:
            if not _is_proven_by(connection.entry, name):
                self._end(connection, [one for one in connection.exchanges if _uses(one, name)], is_gone)
            elif connection.exchanges:
                self._end(connection, connection.exchanges, is_gone)
            else:
                connection.stream.expire("revoked")

    def _end(self, connection: Served, exchanges: Collection[Exchange], is_due: Judgement) -> None:
        """End these exchanges after a while if it is due then still."""
        assert self._view is not None, "connections are accepted under a view"
        seconds = self._view.snapshot.drain_old
        for exchange in exchanges:
            self._nursery.start_soon(self._cut_after, connection, exchange, seconds, is_due)

    def _is_forbidden(self, connection: Served, exchange: Exchange) -> bool:
        entry = connection.entry
        assert self._view is not None
        return is_forbidden(exchange, entry, self._view, self._view.listeners.get(entry.listener.name))

    @staticmethod
    async def _cut_after(connection: Served, exchange: Exchange, seconds: float, is_due: Judgement) -> None:
        await trio.sleep(seconds)
        if exchange in connection.exchanges and is_due(connection, exchange):
            connection.cut(exchange)


def is_forbidden(exchange: Exchange | None, entry: Entry, view: View, listener: Listener | None) -> bool:
    """Whether the view would refuse what a connection is doing: its listener, its tunnel, its exchange."""
    if listener is None or listener.mode is not entry.serves:
        return True
    return exchange is not None and _refuses(exchange, entry, view, listener)


def _refuses(exchange: Exchange, entry: Entry, view: View, listener: Listener) -> bool:
    request = exchange.request
    authority = entry.authority or request.authority
    try:
        route = _route(exchange, entry, view, authority)
    except (ProxyError, KeyError):
        return True
    opaque = request.method == b"CONNECT"
    if route.service is None:
        if opaque and listener.unknown_hosts is UnknownHosts.DENY:
            return True
        if view.check_port(authority) is not None:
            return True
    elif opaque:
        return True  # what was an unknown host's tunnel is a service's now: it would be intercepted
    judge = route.judge
    if opaque:
        return not judge.tunnel(exchange.peer, authority.host, authority.port)
    target = request.authority
    if not judge.decide(exchange.peer, target.host, target.port, request.method, request.path):
        return True
    return exchange.alternate is not None and _refuses_alternate(exchange.alternate, view)


def _refuses_alternate(alternate: Exchange, view: View) -> bool:
    """Whether the service that answers in another one's place is gone, elsewhere, or not for this caller."""
    assert alternate.service is not None, "services alone stand in for others"
    route = view.named.get(alternate.service.name)
    if route is None or route.service is None or route.service.base != alternate.service.base:
        return True
    request = alternate.request
    host, port = request.authority.host, request.authority.port
    return not route.judge.decide(alternate.peer, host, port, request.method, request.path)


def _uses(exchange: Exchange, secret: str) -> bool:
    """Whether an exchange carries this secret."""
    return exchange.credential is not None and secret in exchange.credential.secret_names


def _is_proven_by(entry: Entry, secret: str) -> bool:
    """Whether a connection's caller was let in by this secret."""
    proven = entry.peer.user
    return proven is not None and any(user.name == proven and user.secret == secret for user in entry.listener.users)


def _route(exchange: Exchange, entry: Entry, view: View, authority: Authority) -> Route:
    """Find the route anew. ProxyError or KeyError where there is none any more."""
    service = exchange.service
    if service is None or entry.authority is not None:
        return view.find(authority.host, authority.port)
    # The authority is the upstream's, with the port of the base URL: what the client named was the service.
    route = view.named[service.name]
    hosts = route.service.hosts if route.service is not None else ()
    if not any(pattern.matches(authority.host, authority.port, any_port=True) for pattern in hosts):
        raise KeyError(service.name)
    return route
