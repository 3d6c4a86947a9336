"""From a request target to scheme, authority and path (RFC 9112 §3.2); what was sent is kept byte for byte."""

from typing import Final

from proxyd.core.authority import DEFAULT_PORTS, Authority, parse_authority
from proxyd.core.errors import ProxyError, bad_request
from proxyd.wire.head import RequestHead


def absolute(head: RequestHead) -> tuple[bytes, Authority, bytes]:
    """Take apart an absolute-form target. ProxyError 400 for any other form."""
    target = head.target
    scheme_end = target.find(b"://")
    scheme = target[:scheme_end].lower() if scheme_end > 0 else b""
    if scheme not in DEFAULT_PORTS:
        if target.startswith(b"/"):
            raise bad_request("this is a forward proxy: the target must be a whole URL (RFC 9112 §3.2.2)")
        raise bad_request("the target is no http or https URL")
    start = scheme_end + 3
    path_start = _first_of(target, b"/?", start)
    authority = _authority(target[start:path_start], DEFAULT_PORTS[scheme])
    path = target[path_start:]
    return scheme, authority, _path(path, head.method)


def origin(head: RequestHead, within: Authority) -> bytes:
    """Return the path of an origin-form target (or asterisk-form); an absolute one must name ``within``."""
    target = head.target
    if target.startswith(b"/"):
        return _path(target, head.method)
    if target == b"*" and head.method == b"OPTIONS":
        return target
    _, authority, path = absolute(head)
    if authority != within:
        raise misdirected(f"the URL names {authority} within a tunnel to {within}")
    return path


def connect(head: RequestHead) -> Authority:
    """Take apart CONNECT's authority-form; the port is demanded (RFC 9110 §9.3.6)."""
    return _authority(head.target, None)


def host_matches(host: bytes, scheme: bytes, authority: Authority) -> bool:
    """Whether a Host field names ``authority`` after normalisation."""
    if host == authority.host_header(scheme):
        return True
    try:
        return parse_authority(host, DEFAULT_PORTS[scheme]) == authority
    except ValueError:
        return False


def check_host(head: RequestHead) -> None:
    """Refuse a Host that is no authority at all (RFC 9112 §3.2)."""
    if head.host:
        try:
            parse_authority(head.host, 80)
        except ValueError as error:
            raise bad_request(f"Host is invalid: {error}") from None


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


def _first_of(data: bytes, characters: bytes, start: int) -> int:
    found = [at for at in (data.find(character, start) for character in (characters[:1], characters[1:])) if at >= 0]
    return min(found, default=len(data))
