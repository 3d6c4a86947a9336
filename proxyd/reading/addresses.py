"""Hosts, addresses and URLs of a configuration, to the core nouns."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

import idna

from proxyd.core.authority import DEFAULT_PORTS, normalise_host, parse_authority
from proxyd.core.service import UNIX, BaseUrl, Endpoint, HostPattern
from proxyd.reading.problems import Mistake, kind_of

DEFAULT_GATEWAY: Final = f"{UNIX}gateway.sock"
"""Where a gateway listens that names no address; relative to the runtime folder."""

_A_HOST: Final = "a host such as api.example.com, *.example.com, api.example.com:8443 or [::1]:8080"
_AN_ADDRESS: Final = "an address such as 127.0.0.1:3128 or [::1]:3128"
_A_LISTENER: Final = "an address such as 127.0.0.1:3128 or unix:gateway.sock"
_AN_ORIGIN: Final = "an origin such as https://app.example.com or http://localhost:5173"
_AN_ENDPOINT: Final = "an endpoint such as 192.0.2.7:8443, backend.example.com:443 or unix:/run/backend.sock"
MAX_UNIX_PATH: Final = 107
"""Bytes of a socket's path (unix(7))."""
_A_BASE_URL: Final = "a URL such as https://api.example.com/v2"
_A_CIDR: Final = "a range such as 10.0.0.0/8, or one address"
_A_PATH: Final = "a path such as /v2/"

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+")  # RFC 3986 §3.3
_TRICKS: Final = re.compile(r"%(?:2e|5c)|;", re.IGNORECASE)
ENCODED_SLASH: Final = re.compile(r"%2f", re.IGNORECASE)
_DOTS: Final = (".", "..")


def host_pattern(value: object) -> HostPattern:
    """Read one entry of a service's ``hosts``."""
    pattern = rule_host(value)
    if pattern.wildcard and not pattern.host:
        raise Mistake("'*' is for hosts in access rules; a service names its hosts", _A_HOST)
    return pattern


def rule_host(value: object) -> HostPattern:
    """Read one entry of a rule's ``hosts``; ``*`` is every host."""
    text = _text(value, _A_HOST)
    if "://" in text or "/" in text:
        raise Mistake("a host has no scheme and no path", _A_HOST, _host_of_url(text))
    if text == "*":
        return HostPattern("", None, True)
    if text.startswith("*:"):
        return HostPattern("", _port(text[2:], _A_HOST), True)
    wildcard = text.startswith("*.")
    rest = text[2:] if wildcard else text
    if "*" in rest:
        raise Mistake("a wildcard is the whole first label", _A_HOST)
    host, port, is_ip = _host_and_port(rest, "*." if wildcard else "", _A_HOST)
    if wildcard and is_ip:
        raise Mistake("an IP address has no subdomains", _A_HOST)
    return HostPattern(host, port, wildcard)


def listen_address(value: object) -> str:
    """Read the address of a listener: an IP address or ``localhost``, and a port (0: chosen by the kernel)."""
    text = _text(value, _AN_ADDRESS)
    host_text, colon, port_text = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise Mistake("a port is missing", _AN_ADDRESS)
    if ":" in host_text and not host_text.startswith("["):
        raise Mistake("an IPv6 address stands in brackets", _AN_ADDRESS)
    host, is_ip = _host(host_text, "", _AN_ADDRESS)
    if not is_ip and host != "localhost":
        raise Mistake("a listener is bound to an IP address or localhost, not to a name", _AN_ADDRESS)
    port = 0 if port_text == "0" else _port(port_text, _AN_ADDRESS)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listener_address(value: object) -> str:
    """Read the address of a listener of applications: as above, or ``unix:`` and a path."""
    text = _text(value, _A_LISTENER)
    if not text.startswith(UNIX):
        return listen_address(text)
    path = text.removeprefix(UNIX)
    if not path or path.endswith("/") or not path.isprintable():
        raise Mistake("not the path of a socket", _A_LISTENER)
    return text


def web_origin(value: object) -> str:
    """Read the origin of a web page as browsers write it (RFC 6454 §6.2)."""
    text = _text(value, _AN_ORIGIN).lower()
    scheme, separator, rest = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise Mistake("not an origin; each is written out, '*' and null are refused", _AN_ORIGIN)
    bare = rest.rstrip("/")
    if "/" in bare or "?" in bare or "#" in bare:
        raise Mistake("an origin has no path", _AN_ORIGIN, f"{scheme}://{bare.partition('/')[0]}")
    host, port, _ = _host_and_port(bare, f"{scheme}://", _AN_ORIGIN)
    shown = f"[{host}]" if ":" in host else host
    if port is None or DEFAULT_PORTS.get(scheme.encode()) == port:
        return f"{scheme}://{shown}"
    return f"{scheme}://{shown}:{port}"


def endpoint(value: object) -> Endpoint:
    """Read one address to dial."""
    text = _text(value, _AN_ENDPOINT)
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path.startswith("/") or not path.isprintable() or len(path.encode("utf-8", "replace")) > MAX_UNIX_PATH:
            raise Mistake("not a path of a Unix socket", f"unix: and an absolute path of {MAX_UNIX_PATH} bytes at most")
        return Endpoint(text, 0)
    host, port, _ = _host_and_port(text, "", _AN_ENDPOINT)
    if port is None:
        raise Mistake("a port is missing", _AN_ENDPOINT)
    return Endpoint(host, port)


def base_url(value: object) -> BaseUrl:
    """Read a service's base URL; its path must be in normal form."""
    text = _text(value, _A_BASE_URL)
    if not text.isprintable() or " " in text:  # urlsplit would drop some of them
        raise Mistake("a URL has no spaces and no control characters", _A_BASE_URL)
    try:
        parts = urlsplit(text)
    except ValueError:
        raise Mistake("not a URL", _A_BASE_URL) from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Mistake("the URL must begin with https:// or http://", _A_BASE_URL)
    if "@" in parts.netloc:
        raise Mistake("a URL carries no user or password here; use auth: and secrets:", _A_BASE_URL)
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise Mistake("a base URL has no query and no fragment", _A_BASE_URL)
    host, port, _ = _host_and_port(parts.netloc, "", _A_BASE_URL)
    path = parts.path.rstrip("/")
    if path:
        _url_path(path)
        if ENCODED_SLASH.search(path):
            raise Mistake("%2f is refused in a base path", _A_BASE_URL)
    return BaseUrl(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme.encode()], path)


def url_path(value: object) -> str:
    """Read a rule's path prefix in normal form: what is matched is byte for byte what is sent.

    ``%2f`` passes here: whether the services that the rule judges know it is not seen from one value.
    """
    return _url_path(_text(value, _A_PATH))


def _url_path(text: str) -> str:
    if not text.startswith("/"):
        raise Mistake("a path begins with '/'", _A_PATH, f"/{text}" if _PATH.fullmatch(f"/{text}") else "")
    if "?" in text or "#" in text:
        raise Mistake("a path has no query and no fragment", _A_PATH)
    if "*" in text:
        raise Mistake("a path is a prefix by whole segments, not a pattern; leave '*' out", _A_PATH)
    if not _PATH.fullmatch(text):
        raise Mistake("a path holds ASCII characters only, others percent-encoded", _A_PATH)
    if _TRICKS.search(text):
        raise Mistake("%2e, %5c and ';' are refused in a path", _A_PATH)
    if any(segment in _DOTS for segment in text.split("/")) or "//" in text:
        raise Mistake("a path has no empty, '.' or '..' segments", _A_PATH)
    return text


def cidr(value: object) -> str:
    """Read a range of addresses; a single address is a range of one."""
    text = _text(value, _A_CIDR)
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        loose = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Mistake("not a range of IP addresses", _A_CIDR) from None
    raise Mistake("the address has bits set beyond its prefix length", _A_CIDR, loose)


def _host_and_port(text: str, before: str, expected: str) -> tuple[str, int | None, bool]:
    if text.startswith("["):
        host_text, closed, rest = text.partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise Mistake("the bracket of an IPv6 address is not closed before the port", expected)
        host_text, port_text = f"{host_text}]", rest[1:] if rest else None
    elif text.count(":") > 1:
        raise Mistake("an IPv6 address stands in brackets", expected)
    else:
        host_text, colon, after = text.partition(":")
        port_text = after if colon else None
    host, is_ip = _host(host_text, before, expected)
    return host, None if port_text is None else _port(port_text, expected), is_ip


def _host(text: str, before: str, expected: str) -> tuple[str, bool]:
    if "@" in text:
        raise Mistake("userinfo is not accepted here", expected)
    if not text.isascii():
        raise Mistake("an internationalised name is written as xn--", expected, _a_label(text, before))
    try:
        return normalise_host(text)
    except ValueError as error:
        reason = "not an IP address" if isinstance(error, ipaddress.AddressValueError) else str(error)
        raise Mistake(reason, expected) from None


def _a_label(text: str, before: str) -> str:
    try:
        return before + idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError:  # idna's own errors are among them
        return ""


def _port(text: str, expected: str) -> int:
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise Mistake("the port is not a number from 1 to 65535", expected)
    return int(text)


def _host_of_url(text: str) -> str:
    rest = text.partition("://")[2] or text
    host = rest.partition("/")[0]
    try:
        parse_authority(host, 0)
    except (ValueError, UnicodeError):
        return ""
    return host


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise Mistake(f"{kind_of(value)} stands here", expected)
    if not value:
        raise Mistake("the text is empty", expected)
    return value


def store_url(value: object) -> str:
    """Read where state is kept."""
    text = _text(value, "sqlite:PATH or redis://host:port/db")
    if text.startswith("sqlite:"):
        if len(text) > len("sqlite:") and "\0" not in text:
            return text
        raise Mistake("the path is missing", "such as sqlite:state.db")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return text
    if parts.password is not None:
        raise Mistake("a password does not belong in a URL", "password: with the name of a secret beside it")
    database = parts.path.strip("/")
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or port == 0 or not (database or "0").isdecimal():
        raise Mistake("not a store", "sqlite:PATH, redis://host:port/db, rediss://host:port/db or unix:///path")
    return text
