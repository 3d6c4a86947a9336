"""The PROXY protocol, versions 1 and 2: what a proxy says of its client before everything else.

After HAProxy's proxy-protocol.txt, whose sections are cited. ``Reader`` is shown what has come, peeked at, and says how
much of that belongs to the header, so that not one byte behind it is taken from the socket.
"""

import functools
import ipaddress
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_V1: Final = 107
"""Bytes of a line of version 1, its end included (2.1)."""
MAX_V2: Final = 16 * 1024
"""Bytes of a header of version 2, which could announce 65,551; HAProxy's own buffer is as large (tune.bufsize)."""

V1: Final = "v1"
V2: Final = "v2"

_FIXED: Final = 16
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_STREAMS: Final = {0x11: 4, 0x21: 16}
"""Families of TCP that tell addresses, with the bytes of each address."""
_OTHERS: Final = {0x00: 0, 0x12: 12, 0x22: 36, 0x31: 216, 0x32: 216}
"""Other known families with the bytes of their addresses, which say nothing about a client of TCP."""
_CRC32C: Final = 0x03
"""PP2_TYPE_CRC32C (2.2.3)."""
_PORT_DIGITS: Final = 5


class MalformedHeader(Exception):
    """The bytes are no header of the PROXY protocol; the text says why and repeats nothing of them."""


class Place(NamedTuple):
    """An IP address in its shortest spelling, IPv4 where it was mapped into IPv6, and a port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Header:
    """What was said."""

    source: Place | None
    """The client; None: not told."""
    is_local: bool = False
    """The connection is the proxy's own, such as a health check (version 2 alone can say that)."""


class Reader:
    """Takes a header in pieces, as they come."""

    def __init__(self) -> None:
        self._held = b""
        self.header: Header | None = None
        """Set once it is complete."""

    def take(self, seen: bytes) -> int:
        """Return how many of the bytes that came, which were peeked at, belong to the header. MalformedHeader."""
        before = len(self._held)
        data = self._held + seen
        is_v1 = data[:1] == b"P"
        end = _end_of_v1(data) if is_v1 else _end_of_v2(data)
        self._held = data[:end]
        if end <= len(data):
            self.header = _read_v1(self._held) if is_v1 else _read_v2(self._held)
        return min(end, len(data)) - before


def header(version: str, source: Place | None, destination: Place | None) -> bytes:
    """Return the header to send in ``version``; without a source and destination one that tells no address.

    Addresses of two families are both told as IPv6, the IPv4 one mapped (as HAProxy does).
    """
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n" if version == V1 else SIGNATURE + bytes((_LOCAL, 0, 0, 0))
    parsed = ipaddress.ip_address(source.address), ipaddress.ip_address(destination.address)
    if {address.version for address in parsed} == {4, 6}:
        parsed = _mapped(parsed[0]), _mapped(parsed[1])
    ports = source.port, destination.port
    if version == V1:
        kind = f"TCP{parsed[0].version}"
        return f"PROXY {kind} {_written(parsed[0])} {_written(parsed[1])} {ports[0]} {ports[1]}\r\n".encode("ascii")
    block = parsed[0].packed + parsed[1].packed + struct.pack("!HH", *ports)
    return SIGNATURE + struct.pack("!BBH", _PROXY, 0x11 if parsed[0].version == 4 else 0x21, len(block)) + block


# --- version 1 ------------------------------------------------------------------------------------


def _end_of_v1(data: bytes) -> int:
    """Return where the header ends, beyond ``data`` while its end has not come."""
    word = b"PROXY "
    if not data.startswith(word[: len(data)]):
        raise MalformedHeader("it does not begin with the PROXY protocol's first word")
    end = data.find(b"\n", 0, MAX_V1) + 1
    if not end and len(data) >= MAX_V1:
        raise MalformedHeader(f"the line of version 1 is longer than {MAX_V1} bytes")
    return end or len(data) + 1


def _read_v1(line: bytes) -> Header:
    if not line.endswith(b"\r\n"):
        raise MalformedHeader("the line of version 1 does not end with CR LF")
    words = line[:-2].split(b" ")
    kind = words[1]
    if kind == b"UNKNOWN":
        return Header(None)  # what follows is to be ignored (2.1)
    if kind not in (b"TCP4", b"TCP6"):
        raise MalformedHeader("version 1 names no known protocol")
    if len(words) != 6:
        raise MalformedHeader("version 1 tells no two addresses and two ports")
    addresses = [_address(word, 4 if kind == b"TCP4" else 6) for word in words[2:4]]
    ports = [_port(word) for word in words[4:]]
    return Header(Place(addresses[0], ports[0]))


def _address(word: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        raise MalformedHeader("version 1 tells something that is no address") from None
    if address.version != version or b"%" in word:
        raise MalformedHeader("version 1 tells an address of another family")
    return plain(address)


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > _PORT_DIGITS or (word[:1] == b"0" and len(word) > 1) or int(word) > 65535:
        raise MalformedHeader("version 1 tells something that is no port")
    return int(word)


# --- version 2 ------------------------------------------------------------------------------------


def _end_of_v2(data: bytes) -> int:
    """Return where the header ends as far as that is known; beyond ``data`` while some is missing."""
    if not data.startswith(SIGNATURE[: len(data)]):
        raise MalformedHeader("it begins with neither version of the PROXY protocol")
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise MalformedHeader("version 2 says another version or an unknown command")
    if len(data) < _FIXED:
        return _FIXED
    end = _FIXED + int.from_bytes(data[14:16], "big")
    if end > MAX_V2:
        raise MalformedHeader(f"the header of version 2 is longer than {MAX_V2} bytes")
    return end


def _read_v2(block: bytes) -> Header:
    if block[12] == _LOCAL:
        return Header(None, is_local=True)  # all that follows is to be discarded (2.2)
    family = block[13]
    size = _STREAMS.get(family, 0)
    length = 2 * size + 4 if size else _OTHERS.get(family)
    if length is None:
        raise MalformedHeader("version 2 names an unknown family or transport")
    if len(block) < _FIXED + length:
        raise MalformedHeader("version 2 is too short for its addresses")
    _check_fields(block, _FIXED + length)
    if not size:
        return Header(None)
    port = int.from_bytes(block[_FIXED + 2 * size : _FIXED + 2 * size + 2], "big")
    return Header(Place(plain(ipaddress.ip_address(block[_FIXED : _FIXED + size])), port))


def _check_fields(block: bytes, at: int) -> None:
    """Walk over the TLVs, which must fill the header exactly, and check the checksum if there is one."""
    is_checked = False
    while at < len(block):
        if at + 3 > len(block):
            raise MalformedHeader("version 2 ends within the head of a field")
        kind, size = block[at], int.from_bytes(block[at + 1 : at + 3], "big")
        value, at = at + 3, at + 3 + size
        if at > len(block):
            raise MalformedHeader("version 2 has a field that is longer than the header")
        if kind == _CRC32C:
            if size != 4 or is_checked:
                raise MalformedHeader("version 2 has a checksum of another length, or several")
            is_checked = True
            if crc32c(block[:value] + b"\0\0\0\0" + block[at:]) != int.from_bytes(block[value:at], "big"):
                raise MalformedHeader("version 2 has a checksum that does not fit")


# --- common ---------------------------------------------------------------------------------------


def plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as rules compare it: one that was mapped into IPv6 is IPv4 again."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def _written(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Spell an address as every reader knows it: hex digits and colons alone (2.1)."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        packed = address.packed
        return f"::ffff:{packed[12:14].hex()}:{packed[14:].hex()}"
    return str(address)


@functools.cache
def _table() -> tuple[int, ...]:
    values = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        values.append(value)
    return tuple(values)


def crc32c(data: bytes) -> int:
    """Return the CRC of Castagnoli's polynomial (RFC 9260 appendix A)."""
    crc, table = 0xFFFFFFFF, _table()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
