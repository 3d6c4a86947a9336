"""What a new snapshot, or a secret that was removed, says of what runs already."""

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange
from proxyd.core.route import Route
from proxyd.core.snapshot import Listener, UnknownHosts
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
        route = _route(exchange, connection, view, authority)
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


def _route(exchange: Exchange, connection: Connection, view: View, authority: Authority) -> Route:
    """Find the route anew. ProxyError or KeyError where there is none any more."""
    service = exchange.service
    if service is None or connection.authority is not None:
        return view.find(authority.host, authority.port)
    # The authority is the upstream's, with the port of the base URL: what the client named was the service.
    route = view.named[service.name]
    hosts = route.service.hosts if route.service is not None else ()
    if not any(pattern.matches(authority.host, authority.port, any_port=True) for pattern in hosts):
        raise KeyError(service.name)
    return route
