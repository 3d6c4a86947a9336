"""What an upstream says of its own URLs, said in the client's: Location, Link and Set-Cookie.

A client of the gateway, and one whose http URL is asked for over https, knows the upstream's resources under URLs of
its own (core.facade). A reference is rewritten when it lies under the base URL, and left as it is when the client's
reading of it is the upstream's anyway. A relative one that would lead the client elsewhere, since its path is another,
is written out in full. Nothing else changes: what is not understood stays byte for byte.
"""

import re
from typing import Final

from proxyd.core.authority import DEFAULT_PORTS, Authority, parse_authority
from proxyd.core.exchange import Exchange
from proxyd.core.facade import Facade
from proxyd.core.headers import Headers
from proxyd.core.message import Origin, Response
from proxyd.core.paths import check_path
from proxyd.core.route import Filter
from proxyd.filters.cookies import rewrite_cookie

_FIELDS: Final = frozenset({b"location", b"content-location", b"link", b"set-cookie"})
_VISIBLE: Final = re.compile(rb"[!-\[\]-~]+").fullmatch
"""No control character, no space, no backslash: browsers read those in ways of their own."""
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):(//([^/?#]*))?").match
_LINK: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|<([^<>]*)>')


class RewriteFilter(Filter):
    """Rewrites responses of exchanges whose client knows the resource under another URL."""

    def request(self, exchange: Exchange) -> Response | None:
        """Have interim responses rewritten as well: an early hint carries Link."""
        facade, interim = exchange.facade, exchange.interim
        if facade is not None and interim is not None:

            async def rewritten(status: int, headers: Headers) -> None:
                await interim(status, rewrite(headers, facade, exchange.request.path))

            exchange.interim = rewritten
        return None

    def response(self, exchange: Exchange) -> None:
        """Rewrite the head."""
        facade, response = exchange.facade, exchange.response
        if facade is None or response is None or response.origin is Origin.PROXYD:
            return
        response.headers = rewrite(response.headers, facade, exchange.request.path)


def rewrite(headers: Headers, facade: Facade, path: bytes) -> Headers:
    """Return the headers in the client's words; ``path`` is that of the request, as the upstream saw it."""
    for name, _ in headers:
        if name in _FIELDS:
            return [_field(name, value, facade, path) for name, value in headers]
    return headers


def _field(name: bytes, value: bytes, facade: Facade, path: bytes) -> tuple[bytes, bytes]:
    if name in (b"location", b"content-location"):
        return name, reference(value, facade, path)
    if name == b"link":
        return name, _LINK.sub(lambda found: _target(found, facade, path), value)
    if name == b"set-cookie" and facade.is_gateway:
        return name, rewrite_cookie(value, facade, path)
    return name, value


def _target(found: re.Match[bytes], facade: Facade, path: bytes) -> bytes:
    target = found[1]
    return found[0] if target is None else b"<" + reference(target, facade, path) + b">"


def reference(value: bytes, facade: Facade, path: bytes) -> bytes:
    """Return a URI reference (RFC 3986 §4.1) in the client's words."""
    if not _VISIBLE(value):
        return value
    absolute = _ABSOLUTE(value)
    if absolute is not None:
        if absolute[3] is None or not _is_base(absolute[1].lower(), absolute[3], facade):
            return value
        rest = _below(value[absolute.end() :], facade)
        return value if rest is None else _origin(facade) + facade.prefix + rest
    if value.startswith(b"//"):
        return _network_path(value, facade)
    if value.startswith(b"/"):
        return _absolute_path(value, facade)
    return _relative(value, facade, path)


def _network_path(value: bytes, facade: Facade) -> bytes:
    """``//host/path`` has the scheme of who reads it."""
    written_out = facade.base_scheme + b":" + value
    absolute = _ABSOLUTE(written_out)
    if absolute is None or _authority(absolute[3], facade) is None:
        return value  # it names no host
    changed = reference(written_out, facade, b"/")
    return value if changed == written_out and facade.scheme == facade.base_scheme else changed


def _absolute_path(value: bytes, facade: Facade) -> bytes:
    """``/path`` is the upstream's: the client's own under the base path, else the whole URL."""
    rest = _below(value, facade)
    if rest is not None:
        own = facade.prefix + rest
        return own if own.startswith(b"/") else b"/" + own
    return facade.base_scheme + b"://" + facade.base_authority.host_header(facade.base_scheme) + value


def _relative(value: bytes, facade: Facade, path: bytes) -> bytes:
    """A relative path means the same for both, unless it climbs out of the base path or names its last segment."""
    if value.startswith(b"#") or not value or not (facade.prefix or facade.base_path):
        return value
    own_path = facade.prefix + path.removeprefix(facade.base_path)
    meant = _absolute_path(_join(path, value), facade)
    return value if meant == _join(own_path, value) else meant


def _join(path: bytes, value: bytes) -> bytes:
    """Return the path, query and fragment that a relative-path reference names (RFC 3986 §5.2.2 to §5.2.4)."""
    base = path.partition(b"?")[0]
    relative = value.partition(b"#")[0].partition(b"?")[0]
    rest = value[len(relative) :]
    if not relative:
        return base + rest
    segments = (base.rpartition(b"/")[0] + b"/" + relative).split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept) + rest


def _is_base(scheme: bytes, authority: bytes, facade: Facade) -> bool:
    """Whether an absolute URL is on the base URL's host and port, with its scheme."""
    return scheme == facade.base_scheme and _authority(authority, facade) == facade.base_authority


def _authority(raw: bytes, facade: Facade) -> Authority | None:
    try:
        return parse_authority(raw, DEFAULT_PORTS[facade.base_scheme])
    except ValueError:
        return None


def _below(rest: bytes, facade: Facade) -> bytes | None:
    """Return what of a path, query and fragment follows the base path; None where it does not lie under it."""
    base = facade.base_path
    path = rest.partition(b"#")[0].partition(b"?")[0]
    if path and (base or facade.prefix) and check_path(path, facade.encoded_slash) is not None:
        return None  # it could lead out of the base path, and the gateway would not serve it
    if not rest.startswith(base):
        return None
    below = rest[len(base) :]
    return below if below[:1] in (b"/", b"?", b"#", b"") else None


def _origin(facade: Facade) -> bytes:
    return facade.scheme + b"://" + facade.authority
