"""Authorities (host and port), normalised so that equal means equal.

Case, one trailing dot, the default port, IPv4 and IPv6 spelling are folded (RFC 3986 §6.2); names must
be A-labels already, as every HTTP client sends them. Zone identifiers are refused.
"""

import functools
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}

MAX_HOST_BYTES: Final = 253  # RFC 1035 §2.3.4, without the root's dot

_LABELS: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_NUMERIC_LAST_LABEL: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Authority:
    """A normalised host and port. ``host`` is a lower-case A-label name or a bare IP address (no brackets)."""

    host: str
    port: int
    is_ip: bool
    text: str = field(init=False, repr=False, compare=False)
    """``host:port``, an IPv6 address in brackets."""

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        object.__setattr__(self, "text", f"{host}:{self.port}")

    def __str__(self) -> str:
        return self.text

    def host_header(self, scheme: bytes) -> bytes:
        """Return the Host field's value: the default port of ``scheme`` is left out (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if DEFAULT_PORTS.get(scheme) == self.port:
            return host.encode("ascii")
        return f"{host}:{self.port}".encode("ascii")


def normalise_host(text: str) -> tuple[str, bool]:
    """Return (host, is_ip) in canonical form; brackets around IPv6 are optional. ValueError says what is wrong."""
    if text.startswith("["):
        if not text.endswith("]"):
            raise ValueError("the bracket of an IPv6 address is not closed")
        inside = text[1:-1]
        if ":" not in inside:
            raise ValueError("brackets hold IPv6 addresses only")
        text = inside
    if ":" in text:
        if "%" in text:
            raise ValueError("zone identifiers are not accepted")
        return ipaddress.IPv6Address(text).compressed, True
    name = text.lower()
    name = name.removesuffix(".")
    if _NUMERIC_LAST_LABEL.fullmatch(name):
        # WHATWG URL: a name that ends in a number is an IPv4 address or nothing; only dotted quads pass here.
        return str(ipaddress.IPv4Address(name)), True
    if not _LABELS.fullmatch(name):
        raise ValueError("not a host name (letters, digits, hyphens and dots; internationalised names as xn--)")
    return name, False


@functools.lru_cache(maxsize=4096)
def parse_authority(raw: bytes | str, default_port: int | None) -> Authority:
    """Parse ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``.

    ValueError says what is wrong: no port where none is the default, userinfo, a zone, a bad name.
    """
    text = raw.decode("ascii", "strict") if isinstance(raw, bytes) else raw
    if not text:
        raise ValueError("the authority is empty")
    if "@" in text:
        raise ValueError("userinfo is not accepted in an authority")
    if text.startswith("["):
        end = text.find("]")
        if end < 0:
            raise ValueError("the bracket of an IPv6 address is not closed")
        host_text, rest = text[: end + 1], text[end + 1 :]
        if rest and not rest.startswith(":"):
            raise ValueError("only a port may follow the bracket")
        port_text = rest[1:] if rest else None
    else:
        host_text, colon, after = text.partition(":")
        port_text = after if colon else None
    if port_text:
        if not _PORT.fullmatch(port_text) or not 0 < int(port_text) < 65536:
            raise ValueError("the port is not a number from 1 to 65535")
        port = int(port_text)
    elif default_port is not None:  # RFC 3986 §3.2.3: an empty port is the default one
        port = default_port
    else:
        raise ValueError("a port is missing")
    host, is_ip = normalise_host(host_text)
    return Authority(host, port, is_ip)
