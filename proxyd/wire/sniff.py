"""What the first bytes of a tunnel are: a TLS ClientHello, something else, or not enough yet.

The hello may span TCP segments and TLS records (RFC 8446 §5.1); only its server_name and ALPN are read.
"""

from dataclasses import dataclass
from typing import Final

from proxyd.core.authority import normalise_host

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_RECORD_HEAD: Final = 5


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The parts of a hello that routing looks at. ``sni`` is normalised; None when absent."""

    sni: str | None
    alpn: tuple[bytes, ...] = ()
    """Protocols that the client offers, in its order; none where it does not negotiate."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """More bytes are needed: at least ``missing``."""

    missing: int


@dataclass(frozen=True, slots=True)
class NotTls:
    """The bytes cannot begin a ClientHello, or are a broken one; ``why`` says so."""

    why: str
    is_tls: bool = False
    """They looked like TLS at first."""


def sniff(data: bytes, limit: int) -> ClientHello | Incomplete | NotTls:
    """Look at the first bytes of a stream; a hello longer than ``limit`` bytes is refused."""
    if not data:
        return Incomplete(_RECORD_HEAD)
    if data[0] != _HANDSHAKE or (len(data) > 1 and data[1] != 3):
        return NotTls("not a TLS handshake record")
    message = bytearray()
    at = 0
    while True:
        if len(data) < at + _RECORD_HEAD:
            return _more(at + _RECORD_HEAD - len(data), limit, len(data))
        if data[at] != _HANDSHAKE or data[at + 1] != 3:
            return NotTls("another record within the hello", True)
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if not 0 < size <= 16384:
            return NotTls("a TLS record of a forbidden length", True)
        piece = data[at + _RECORD_HEAD : at + _RECORD_HEAD + size]
        message += piece
        if message and message[0] != _CLIENT_HELLO:
            return NotTls("not a ClientHello", True)
        length = 4
        if len(message) >= length:
            length += int.from_bytes(message[1:4], "big")
            if length > limit:
                return NotTls(f"a ClientHello of more than {limit} bytes", True)
            if len(message) >= length:
                return _parse(bytes(message[4:length]))
        if len(piece) < size:  # the record may hold more than the hello
            return _more(min(size - len(piece), length - len(message)), limit, len(data))
        at += _RECORD_HEAD + size


def _more(missing: int, limit: int, have: int) -> Incomplete | NotTls:
    if have >= 2 * limit:
        return NotTls("a ClientHello in too many records", True)
    return Incomplete(missing)


class _Reader:
    """A cursor over length-prefixed vectors (RFC 8446 §3.4)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise ValueError("truncated")
        self.at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, prefix: int) -> bytes:
        return self.take(self.number(prefix))

    def __bool__(self) -> bool:
        return self.at < len(self.data)


def _parse(body: bytes) -> ClientHello | NotTls:
    try:
        reader = _Reader(body)
        reader.take(2 + 32)  # legacy_version, random
        reader.vector(1)  # legacy_session_id
        reader.vector(2)  # cipher_suites
        reader.vector(1)  # legacy_compression_methods
        sni: str | None = None
        alpn: tuple[bytes, ...] = ()
        if reader:
            extensions = _Reader(reader.vector(2))
            seen = False
            while extensions:
                kind = extensions.number(2)
                content = extensions.vector(2)
                if kind == _SERVER_NAME:
                    if seen:
                        return NotTls("two server_name extensions", True)
                    seen = True
                    sni = _server_name(content)
                elif kind == _ALPN:
                    if alpn:
                        return NotTls("two ALPN extensions", True)
                    alpn = _protocols(content)
        return ClientHello(sni, alpn)
    except ValueError as error:
        return NotTls(f"a malformed ClientHello: {error}", True)


def _server_name(content: bytes) -> str:
    """RFC 6066 §3: one host_name."""
    names = _Reader(_Reader(content).vector(2))
    if names.number(1) != 0:
        raise ValueError("a server_name of an unknown type")
    raw = names.vector(2)
    if names:
        raise ValueError("more than one server_name")
    host, _ = normalise_host(raw.decode("ascii", "strict"))
    return host


def _protocols(content: bytes) -> tuple[bytes, ...]:
    """RFC 7301 §3.1: one list of names, none of them empty."""
    outer = _Reader(content)
    names = _Reader(outer.vector(2))
    if outer or not names:
        raise ValueError("a malformed ALPN extension")
    found = []
    while names:
        found.append(names.vector(1))
    if not all(found):
        raise ValueError("an empty protocol name")
    return tuple(found)
