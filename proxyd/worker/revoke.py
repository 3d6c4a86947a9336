"""What a new snapshot, or a secret that was removed, says of what runs already."""

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.route import Route
from proxyd.core.snapshot import Listener, ListenerMode, UnknownHosts
from proxyd.core.view import View
from proxyd.downstream.connection import Connection


def is_forbidden(connection: Connection, view: View, listener: Listener | None) -> bool:
    """Whether the view would refuse what this connection is doing: its listener, its tunnel, its exchange."""
    if listener is None or listener.mode is not connection.serves:
        return True
    exchange = connection.exchange
    return exchange is not None and _refuses(exchange, connection, view, listener)


def uses(connection: Connection, secret: str) -> bool:
    """Whether a connection's exchange carries this secret, or its caller was let in by it."""
    exchange = connection.exchange
    if exchange is not None and exchange.credential is not None and secret in exchange.credential.secret_names:
        return True
    proven = connection.wire_peer.user
    return proven is not None and any(
        user.name == proven and user.secret == secret for user in connection.listener.users
    )


def _refuses(exchange: Exchange, connection: Connection, view: View, listener: Listener) -> bool:
    request = exchange.request
    authority = connection.authority or request.authority
    try:
        route = _route(exchange, view, authority, listener)
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
    return not judge.decide(exchange.peer, target.host, target.port, request.method, request.path)


def _route(exchange: Exchange, view: View, authority: Authority, listener: Listener) -> Route:
    """Find the route anew. ProxyError or KeyError where there is none any more."""
    if listener.mode is not ListenerMode.GATEWAY:
        return view.find(authority.host, authority.port)
    route = view.named[exchange.route.name]
    former = exchange.route.service
    if route.service is None or former is None or route.service.base != former.base:
        raise KeyError(route.name)  # the name stands for another place now
    return route
