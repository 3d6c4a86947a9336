"""Set-Cookie through a gateway: the cookie comes back for what it was set for, and for nothing else.

A gateway's services share a host, so the path is what keeps one's cookies from another: it is always confined to the
service's part of the tree. ``Secure`` goes, since the client asks by http; the connection to the service is still TLS.
Names that promise it (``__Secure-``, ``__Host-``) keep it, and clients that know them refuse those cookies here.
"""

import re
from typing import Final

from proxyd.core.facade import Facade

_PROMISING: Final = (b"__secure-", b"__host-")
_PORT: Final = re.compile(rb":[0-9]*$")


def rewrite_cookie(value: bytes, facade: Facade, request_path: bytes) -> bytes:
    """Return one Set-Cookie value (RFC 6265 §4.1.1) for a client of a gateway."""
    pair, *attributes = value.split(b";")
    keeps_secure = pair.strip().lower().startswith(_PROMISING)
    kept: list[bytes] = [pair]
    path: bytes | None = None
    for attribute in attributes:
        name, _, content = attribute.partition(b"=")
        name = name.strip().lower()
        if name == b"path":
            path = content.strip()  # the last one counts (RFC 6265 §5.2)
        elif name == b"domain":
            kept += _domain(attribute, content.strip(), facade)
        elif name != b"secure" or keeps_secure or facade.base_scheme != b"https":
            kept.append(attribute)
    if path is not None and path.startswith(b"/"):
        kept.append(b" Path=" + _path(path, facade))
    elif facade.prefix:
        kept.append(b" Path=" + _path(_default(request_path), facade))
    return b";".join(kept)


def _domain(attribute: bytes, content: bytes, facade: Facade) -> list[bytes]:
    """Return the Domain attribute: the client's host where it was the upstream's, and none where that has no dot.

    A cookie without one belongs to its host alone; clients refuse a Domain of one label.
    """
    domain = content.lower().removeprefix(b".")
    host = facade.base_authority.host.encode("ascii")
    if not domain or not (host == domain or (host.endswith(b"." + domain) and not facade.base_authority.is_ip)):
        return [attribute]
    own = _PORT.sub(b"", facade.authority)
    return [b" Domain=" + own] if b"." in own else []


def _default(request_path: bytes) -> bytes:
    """Return the default path (RFC 6265 §5.1.4)."""
    return request_path.partition(b"?")[0].rpartition(b"/")[0] or b"/"


def _path(path: bytes, facade: Facade) -> bytes:
    """Return an upstream's path in the client's words; one outside of the base path stays within the service's part."""
    base = facade.base_path
    if path == b"/":
        return facade.prefix or b"/"
    if path.startswith(base) and path[len(base) :][:1] in (b"/", b""):
        return (facade.prefix + path[len(base) :]) or b"/"
    if base.startswith(path.rstrip(b"/") + b"/"):  # it covers all of the base path
        return facade.prefix or b"/"
    return facade.prefix + path
