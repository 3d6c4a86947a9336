"""Where the requests of one connection come in: who sends them, and how each becomes an exchange.

The same for every protocol that a connection may speak; bodies and what goes back are the protocol's own.
"""

from collections.abc import Collection
from typing import ClassVar, Final, Protocol

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError, Side
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request
from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.core.view import Binding, View
from proxyd.downstream import reply, target
from proxyd.downstream.plane import Plane
from proxyd.net.stream import Stream
from proxyd.wire.request_head import RequestHead

NOWHERE: Final = Authority("-", 0, False)
"""Stands for the authority of a request that never said one."""


class Entry:
    """A forward listener's, and that of a tunnel that is intercepted."""

    __slots__ = ("authority", "listener", "mode", "peer", "plane", "scheme")

    serves: ClassVar = ListenerMode.FORWARD

    def __init__(self, peer: Peer, listener: Listener, plane: Plane) -> None:
        self.peer = peer
        self.listener = listener
        self.plane = plane
        self.mode = "plain"
        self.scheme = b"http"
        self.authority: Authority | None = None
        """Within a tunnel: CONNECT's authority, which every request must name."""

    @property
    def knows_http2(self) -> bool:
        """Whether a client may begin with HTTP/2's preface (RFC 9113 §3.3): in the clear within a tunnel."""
        return self.authority is not None and self.scheme == b"http" and self.listener.http2

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer.text} {self.mode}>"

    def check_connect(self) -> None:
        """ProxyError where CONNECT is not served."""

    def exchange(self, view: View, head: RequestHead, started: float) -> Exchange:
        """Build the exchange: target, binding, route. ProxyError where the request is refused already.

        The request has an empty body: the protocol gives it the one that comes.
        """
        within = self.authority
        if within is None:
            if self.listener.users:
                self.peer.user = self.plane.authenticate(self.listener, head.proxy_authorization)
            scheme, raw, path = target.absolute(head)
            binding = target.bind(view, scheme, raw, head.host, tunnelled=False)
        else:
            path = target.origin(head, within)
            binding = target.bind(view, self.scheme, within, head.host, tunnelled=True)
        return self._begin(view, head, started, binding, path)

    def _begin(self, view: View, head: RequestHead, started: float, binding: Binding, path: bytes) -> Exchange:
        """Build the exchange of a request whose way is known."""
        request = Request(
            head.method,
            binding.scheme,
            binding.authority,
            path,
            head.headers,
            BytesBody(),
            head.version,
            head.upgrade,
        )
        request.nominated = head.nominated
        request.via = head.via
        exchange = Exchange(self.peer, view.snapshot, request, started, self.mode)
        exchange.id = self.plane.next_id()
        exchange.facade = binding.facade
        exchange.route = binding.route
        exchange.service = binding.route.service
        return exchange

    def refusal(
        self, view: View, error: ProxyError, started: float, method: bytes = b"-", head: RequestHead | None = None
    ) -> Exchange:
        """Build the exchange of a request that meets no chain; its response says why."""
        request = Request(method, self.scheme, self.authority or NOWHERE, b"", [], BytesBody())
        if head is not None:
            request.headers, request.version = head.headers, head.version
        exchange = Exchange(self.peer, view.snapshot, request, started, self.mode)
        exchange.id = self.plane.next_id()
        exchange.route = view.unknown
        exchange.error = error
        exchange.response = reply.error_response(exchange, error)
        return exchange

    def unused(self, exchange: Exchange) -> None:
        """Report an intercepted tunnel without a request: GnuTLS judges certificates after the handshake."""
        detail = (
            "the client ended the connection after the TLS handshake, without a request "
            "(does it trust proxyd's CA? `proxyd ca export`)"
        )
        exchange.error = ProxyError(
            499, Flag.DOWNSTREAM_DISCONNECT, "connection_terminated", detail, side=Side.DOWNSTREAM
        )
        self.plane.tunnel_finished(exchange, "tunnel", 499)


class Served(Protocol):
    """A connection as the worker sees it, whatever it speaks."""

    entry: Entry
    stream: Stream

    @property
    def exchanges(self) -> Collection[Exchange]:
        """The exchanges and tunnels that run now."""
        ...

    async def serve(self) -> "Served | None":
        """Serve until the end, and close; or return what goes on with the same stream in another protocol."""
        ...

    def drain(self, *, gentle: bool) -> None:
        """Take no more than is under way; ``gentle``: without a close that a client could meet unawares."""
        ...

    def cut(self, exchange: Exchange) -> None:
        """End an exchange that is not allowed any more."""
        ...
