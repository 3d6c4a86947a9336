"""The gateway: a plain HTTP server in front of the services, each under its name.

A service's base URL is reached as ``http://<service>/…`` or ``http://<service>.localhost:port/…`` (the host says which
service), or as ``http://127.0.0.1:port/<service>/…`` (the first segment of the path does). What is sent upstream is the
base URL's path followed by the rest, byte for byte.

A web page must never be able to use it. A browser tells on its pages: by Origin, by Sec-Fetch-Site, and by a Host that
is the page's own where its name was pointed here (DNS rebinding). Those are refused on Unix sockets as well, since a
bridge may stand before one. On TCP a token is demanded besides, which a page cannot read.
"""

import difflib
import hmac
import socket
from typing import Final, NamedTuple

from proxyd.core.authority import parse_authority
from proxyd.core.errors import Flag, ProxyError, bad_request, denied
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.facade import Facade
from proxyd.core.headers import Headers, every, first
from proxyd.core.paths import check_path
from proxyd.core.route import Route
from proxyd.core.snapshot import Listener, ListenerMode
from proxyd.core.view import MAX_BINDINGS, Binding, View
from proxyd.downstream import target
from proxyd.downstream.entry import Entry
from proxyd.downstream.plane import Plane
from proxyd.wire.request_head import RequestHead

TOKEN_FIELD: Final = b"proxyd-token"

MAX_NAME: Final = 128
"""Longest name of a service; more of a wrong one is not repeated."""

_SITE: Final = b"sec-fetch-site"
_OWN_SITES: Final = (b"none", b"same-origin")
_ENDS_HERE: Final = frozenset({TOKEN_FIELD, b"origin", _SITE, b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-user"})
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_LOCALHOST: Final = ".localhost"
_UNSAID: Final = 0
"""The port of a Host that has none."""


class _Place(NamedTuple):
    """What a request asks for."""

    route: Route
    prefix: bytes
    """The part of the path that named the service."""
    rest: bytes
    """What follows, query included."""


class GatewayEntry(Entry):
    """A gateway's."""

    __slots__ = ("_local",)

    serves = ListenerMode.GATEWAY

    def __init__(self, peer: Peer, listener: Listener, plane: Plane, sock: socket.socket) -> None:
        super().__init__(peer, listener, plane)
        self.mode = "gateway"
        self._local: tuple[str, int] | None = None
        """Address and port that the client connected to; None on a Unix socket."""
        if sock.family != socket.AF_UNIX:  # a socket that systemd passed may be another than the configuration's
            self._local = sock.getsockname()[:2]

    @property
    def knows_http2(self) -> bool:
        """Unless the listener does not: nobody offers a choice here."""
        return self.listener.http2

    def check_connect(self) -> None:
        """Refuse: a gateway carries no tunnels."""
        raise bad_request("a gateway has no CONNECT; HTTPS_PROXY wants a listener of mode forward", 501)

    def exchange(self, view: View, head: RequestHead, started: float) -> Exchange:
        """Build the exchange. ProxyError where the caller, the place or the path is refused."""
        host, path = _host_and_path(head)
        name = self._service_named_by(host, view)
        told = [field for field in head.headers if field[0] in _ENDS_HERE]
        origin = self._admit(head, told)
        place = _by_path(view, path) if name is None else _by_host(view, name, path)
        if told:
            head.headers = [field for field in head.headers if field[0] not in _ENDS_HERE]
        binding = _bind(view, host, place, origin)
        assert binding.facade is not None
        sent = binding.facade.base_path + place.rest
        return self._begin(view, head, started, binding, sent if sent.startswith(b"/") else b"/" + sent)

    def _service_named_by(self, host: bytes, view: View) -> str | None:
        """Return the name of the service that Host stands for, None where it is the gateway itself. 421 otherwise."""
        try:
            authority = parse_authority(host, _UNSAID)
        except ValueError as error:
            raise bad_request(f"Host is invalid: {error}") from None
        name, local = authority.host, self._local
        if name in _LOOPBACK or (local is not None and name == local[0]):
            if local is None or authority.port == local[1] or (authority.port == _UNSAID and local[1] == 80):
                return None
        elif name.endswith(_LOCALHOST):
            if local is None or authority.port in (_UNSAID, local[1]):
                return name.removesuffix(_LOCALHOST)
        elif not authority.is_ip and ("." not in name or _named(view, name)) and _is_no_pages(authority.port, local):
            return name
        raise target.misdirected(
            "Host is not this gateway's; ask for http://SERVICE.localhost:PORT/, or for its own address and /SERVICE/"
        )

    def _admit(self, head: RequestHead, headers: Headers) -> bytes:
        """Refuse what a web page could send, and on TCP whoever lacks the token; return the allowed Origin, if any.

        ``headers`` are those that tell of it.
        """
        origins = every(headers, b"origin")
        if origins and not (len(origins) == 1 and origins[0].decode("latin-1") in self.listener.origins):
            raise denied("web pages of this origin may not use the gateway; see `origins` of the listener")
        if not origins and any(site not in _OWN_SITES for site in every(headers, _SITE)):
            raise denied("a web page of another site may not use the gateway (Sec-Fetch-Site)")
        origin = origins[0] if origins else b""
        if self._local is not None and not self.listener.open and not _is_preflight(head, origin):
            self._check_token(headers)
        return origin

    def _check_token(self, headers: Headers) -> None:
        tokens, expected = every(headers, TOKEN_FIELD), self.plane.gateway_token
        if len(tokens) != 1 or expected is None or not hmac.compare_digest(tokens[0], expected):
            found = "the wrong token" if tokens else "no token"
            raise denied(f"{found} in Proxyd-Token; the token stands in gateway.token in the runtime folder", 401)


def _host_and_path(head: RequestHead) -> tuple[bytes, bytes]:
    """Return Host and the path with its query. ProxyError 400 and 421."""
    if b"#" in head.target:
        raise bad_request("a fragment is not part of a request target")
    if not head.host:
        raise bad_request("Host is missing: the gateway knows services by it")
    if head.target.startswith(b"/"):
        return head.host, head.target
    if head.target == b"*":
        raise bad_request("the gateway has no resource *; ask for one of a service")
    scheme, authority, path = target.absolute(head)  # RFC 9112 §3.2.2
    if scheme != b"http":
        raise target.misdirected("the gateway is asked by http URLs; it speaks TLS with the service itself")
    if not _is_same(authority, head.host):
        raise target.misdirected("Host names another host than the URL")
    return authority, path


def _is_no_pages(port: int, local: tuple[str, int] | None) -> bool:
    """Whether no browser can have sent a Host of one name with this port: they leave out port 80 alone."""
    return local is None or (port == _UNSAID and local[1] != 80)


def _is_same(one: bytes, other: bytes) -> bool:
    try:
        return parse_authority(one, 80) == parse_authority(other, 80)
    except ValueError as error:
        raise bad_request(f"the target's authority or Host is invalid: {error}") from None


def _is_preflight(head: RequestHead, origin: bytes) -> bool:
    """Whether this is a browser's question before an allowed page's request: it carries no token."""
    return (
        bool(origin) and head.method == b"OPTIONS" and first(head.headers, b"access-control-request-method") is not None
    )


def _named(view: View, name: str) -> Route | None:
    """Return the service of this name, whatever its case: host names have none."""
    route = view.named.get(name)
    if route is not None:
        return route
    return next((route for known, route in view.named.items() if known.lower() == name), None)


def _by_host(view: View, name: str, path: bytes) -> _Place:
    route = _named(view, name)
    if route is None:
        raise _unknown(view, name)
    return _Place(route, b"", path)


def _by_path(view: View, target: bytes) -> _Place:
    """Cut the service's name off the path; names may hold slashes, the longest wins."""
    found: _Place | None = None
    path = target.partition(b"?")[0]
    end = 0
    for _ in range(view.name_depth + 1):
        end = path.find(b"/", end + 1)
        prefix = path if end < 0 else path[:end]
        route = view.named.get(prefix[1:].decode("latin-1"))
        if route is not None:
            found = _Place(route, prefix, target[len(prefix) :])
        if end < 0:
            break
    if found is None:
        raise _unknown(view, path[1:].partition(b"/")[0].decode("latin-1"))
    if not found.route.checks_paths:  # else the chain does
        _check(found)
    return found


def _check(place: _Place) -> None:
    """The path decides which service it is, so it must mean one thing only. ProxyError 400."""
    service = place.route.service
    assert service is not None
    reason = check_path(place.rest, service.encoded_slash) if place.rest.startswith(b"/") else None
    if reason is not None:
        raise bad_request(f"the path is ambiguous: {reason}")


def _unknown(view: View, name: str) -> ProxyError:
    shown = "".join(character if character.isprintable() else "?" for character in name[:MAX_NAME])
    close = difflib.get_close_matches(name[:MAX_NAME], view.named, n=1)
    advice = f"did you mean {close[0]}?" if close else "`proxyd services` lists them"
    what = f"no service is named {shown}" if shown else "the path names no service"
    return ProxyError(404, Flag.NO_ROUTE, "destination_not_found", f"{what}; {advice}")


def _bind(view: View, host: bytes, place: _Place, origin: bytes) -> Binding:
    """Return where the request goes; what was found before under this view is kept with it."""
    key = (place.route.name, host, place.prefix, origin)
    binding = view.bindings.get(key)
    if binding is None:
        service = place.route.service
        assert service is not None
        base = service.base
        authority = parse_authority(f"[{base.host}]" if ":" in base.host else base.host, base.port)
        facade = Facade(
            b"http",
            host,
            place.prefix,
            base.scheme.encode("ascii"),
            authority,
            base.path.encode("ascii"),
            encoded_slash=service.encoded_slash,
            is_gateway=True,
            origin=origin,
        )
        binding = Binding(facade.base_scheme, authority, place.route, facade)
        if len(view.bindings) >= MAX_BINDINGS:
            view.bindings.clear()
        view.bindings[key] = binding
    return binding
