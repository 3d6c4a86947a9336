"""From a request target to scheme, authority and path (RFC 9112 §3.2); what was sent is kept byte for byte."""

from typing import Final

from proxyd.core.authority import DEFAULT_PORTS, Authority, parse_authority
from proxyd.core.errors import ProxyError, bad_request
from proxyd.core.facade import Facade
from proxyd.core.view import MAX_BINDINGS, Binding, View, upstream_of
from proxyd.wire.request_head import RequestHead

_NOT_A_URL: Final = (
    "this is a forward proxy: the target must be a whole URL (RFC 9112 §3.2.2); name this address in HTTP_PROXY and "
    "HTTPS_PROXY, or send base URLs to a listener of mode gateway"
)


def absolute(head: RequestHead) -> tuple[bytes, bytes, bytes]:
    """Cut an absolute-form target into scheme, authority as sent, and path. ProxyError 400 for any other form."""
    target = head.target
    scheme_end = target.find(b"://")
    scheme = target[:scheme_end].lower() if scheme_end > 0 else b""
    if scheme not in DEFAULT_PORTS:
        if target.startswith(b"/"):
            raise bad_request(_NOT_A_URL)
        raise bad_request("the target is no http or https URL")
    start = scheme_end + 3
    path_start = target.find(b"/", start)
    query = target.find(b"?", start, path_start if path_start >= 0 else len(target))
    if query >= 0:
        path_start = query
    elif path_start < 0:
        path_start = len(target)
    path = target[path_start:]
    if path[:1] != b"/" or _FRAGMENT in path:
        path = _path(path, head.method)
    return scheme, target[start:path_start], path


def bind(view: View, scheme: bytes, raw: bytes | Authority, host: bytes | None, *, tunnelled: bool) -> Binding:
    """Find where a request goes: ``raw`` is the target's authority, or CONNECT's within a tunnel.

    ProxyError 400 for an authority or Host that is none, 421 where Host names another host than a tunnel or a
    service's URL, 403 for ports that are not served. What was found is kept with the view.
    """
    key = (scheme, raw, host, tunnelled)
    binding = view.bindings.get(key)
    if binding is None:
        binding = _bind(view, scheme, raw, host, tunnelled=tunnelled)
        if len(view.bindings) >= MAX_BINDINGS:
            view.bindings.clear()
        view.bindings[key] = binding
    return binding


def _bind(view: View, scheme: bytes, raw: bytes | Authority, host: bytes | None, *, tunnelled: bool) -> Binding:
    authority = raw if isinstance(raw, Authority) else _authority(raw, DEFAULT_PORTS[scheme])
    route = view.find(authority.host, authority.port)
    named = None
    if host:
        try:
            named = parse_authority(host, DEFAULT_PORTS[scheme])
        except ValueError as error:
            raise bad_request(f"Host is invalid: {error}") from None
    bound = tunnelled or route.service is not None  # an unknown host's Host is replaced (RFC 9112 §3.2.2)
    if bound and host is not None and named != authority:
        raise misdirected(f"Host names another host than {authority}")
    facade = None
    if route.service is not None:
        asked, named_as = scheme, authority.host_header(scheme) if isinstance(raw, Authority) else raw
        scheme, authority = upstream_of(route.service, authority)
        if asked != scheme:
            facade = Facade(asked, named_as, b"", scheme, authority, b"")
    else:
        refusal = view.check_port(authority)
        if refusal is not None:
            raise refusal
    return Binding(scheme, authority, route, facade)


def origin(head: RequestHead, within: Authority) -> bytes:
    """Return the path of an origin-form target (or asterisk-form); an absolute one must name ``within``."""
    target = head.target
    if target.startswith(b"/"):
        return _path(target, head.method)
    if target == b"*" and head.method == b"OPTIONS":
        return target
    scheme, raw, path = absolute(head)
    authority = _authority(raw, DEFAULT_PORTS[scheme])
    if authority != within:
        raise misdirected(f"the URL names {authority} within a tunnel to {within}")
    return path


def connect(head: RequestHead) -> Authority:
    """Take apart CONNECT's authority-form; the port is demanded (RFC 9110 §9.3.6)."""
    return _authority(head.target, None)


def misdirected(detail: str) -> ProxyError:
    """421: the request names another host than the one that it was sent to (RFC 9110 §15.5.20)."""
    return bad_request(detail, 421)


_FRAGMENT: Final = b"#"


def _path(path: bytes, method: bytes) -> bytes:
    if _FRAGMENT in path:
        raise bad_request("a fragment is not part of a request target")
    if not path:
        return b"*" if method == b"OPTIONS" else b"/"  # RFC 9112 §3.2.4
    return b"/" + path if path[:1] == b"?" else path


def _authority(raw: bytes, default_port: int | None) -> Authority:
    if _FRAGMENT in raw:
        raise bad_request("a fragment is not part of a request target")
    try:
        return parse_authority(raw, default_port)
    except ValueError as error:
        raise bad_request(f"the target's authority is invalid: {error}") from None
