"""What kind of address an IP address is, after the IANA special-purpose registries (RFC 6890), and what it embeds."""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_ALWAYS: Final = (
    ("169.254.0.0/16", "a link-local address"),  # RFC 3927; metadata of most clouds
    ("100.100.100.200/32", "a metadata address"),  # Alibaba Cloud
    ("168.63.129.16/32", "a metadata address"),  # Azure, the wire server
    ("192.0.0.192/32", "a metadata address"),  # Oracle Cloud, classic
    ("fe80::/10", "a link-local address"),  # RFC 4291
    ("fd00:ec2::/32", "a metadata address"),  # AWS: instance metadata (::254), pod identity (::23)
    ("fd20:ce::254/128", "a metadata address"),  # Google Cloud
    ("fd00:c1::a9fe:a9fe/128", "a metadata address"),  # Oracle Cloud
    ("fd00:42::42/128", "a metadata address"),  # Scaleway
)

_NOT_PUBLIC: Final = (  # the narrower range first
    ("0.0.0.0/32", "the unspecified address"),
    ("0.0.0.0/8", "an address of this network"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a carrier-grade NAT address"),
    ("127.0.0.0/8", "a loopback address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "a documentation address"),
    ("192.88.99.0/24", "a 6to4 relay address"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "a benchmark address"),
    ("198.51.100.0/24", "a documentation address"),
    ("203.0.113.0/24", "a documentation address"),
    ("224.0.0.0/4", "a multicast address"),
    ("255.255.255.255/32", "the broadcast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "the unspecified address"),
    ("::1/128", "a loopback address"),
    ("::/96", "an IPv4-compatible address"),
    ("::ffff:0:0/96", "an IPv4-mapped address"),
    ("::ffff:0:0:0/96", "an IPv4-translated address"),
    ("64:ff9b::/96", "a NAT64 address"),
    ("64:ff9b:1::/48", "a NAT64 address"),
    ("100::/64", "a discard-only address"),
    ("2001::/32", "a Teredo address"),
    ("2001:2::/48", "a benchmark address"),
    ("2001:db8::/32", "a documentation address"),
    ("2001::/23", "a reserved address"),
    ("2002::/16", "a 6to4 address"),
    ("3fff::/20", "a documentation address"),
    ("fc00::/7", "a unique local address"),
    ("fec0::/10", "a site-local address"),
    ("ff00::/8", "a multicast address"),
)

_Table = dict[int, list[tuple[int, int, str]]]
"""IP version to (mask, network, words)."""


def parse(text: str) -> Address | None:
    """Return the address that ``text`` spells; a zone identifier is dropped. None where it spells none."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def always_refused(address: Address) -> str | None:
    """Say what ``address`` is where no configuration may open it, else None."""
    return _find(_ALWAYS_TABLE, address)


def not_public(address: Address) -> str | None:
    """Say what ``address`` is where it is no public unicast address, else None."""
    words = _find(_NOT_PUBLIC_TABLE, address)
    if words is None and address.version == 6:
        bits = int(address)
        if bits >> 125 != 0b001:  # RFC 4291 §2.4: only 2000::/3 is assigned as global unicast
            return "a reserved address"
        if _is_isatap(bits):
            return "an ISATAP address"
    return words


def mapped_ipv4(address: Address) -> Address | None:
    """Return the IPv4 address that the kernel dials for ``::ffff:a.b.c.d``, else None."""
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None


def embedded_ipv4(address: Address) -> tuple[Address, ...]:
    """Return every IPv4 address that a translator, relay or tunnel could read out of ``address``."""
    if address.version == 4:
        return ()
    bits = int(address)
    low = bits & 0xFFFFFFFF
    found = []
    if bits >> 32 in _LAST_32_BITS or _is_isatap(bits):
        if bits > 1:  # :: and ::1 are themselves
            found.append(low)
    elif bits >> 80 == 0x0064FF9B0001:
        found.extend(_local_nat64(bits))
    elif bits >> 96 == 0x20010000:  # Teredo: server and, inverted, client (RFC 4380 §4)
        found.extend((bits >> 64 & 0xFFFFFFFF, low ^ 0xFFFFFFFF))
    elif bits >> 112 == 0x2002:  # 6to4 (RFC 3056 §2)
        found.append(bits >> 80 & 0xFFFFFFFF)
    return tuple(ipaddress.IPv4Address(value) for value in found)


_LAST_32_BITS: Final = frozenset(
    (0, 0xFFFF, 0xFFFF0000, 0x0064FF9B << 64)
    # IPv4-compatible, IPv4-mapped (RFC 4291 §2.5.5), IPv4-translated (RFC 7915), NAT64 (RFC 6052 §2.1)
)


def _local_nat64(bits: int) -> list[int]:
    """Read 64:ff9b:1::/48 (RFC 8215) at every prefix length whose octet u and suffix are zero (RFC 6052 §2.2).

    The length in use is not known here: whatever one of them could mean counts.
    """
    if bits >> 56 & 0xFF:
        return [bits & 0xFFFFFFFF]  # no form of RFC 6052; a translator that cuts the last 32 bits may still be there
    found = [bits & 0xFFFFFFFF]
    for length in (48, 56, 64):
        before = 64 - length  # bits of the IPv4 address before octet u
        after = 32 - before
        suffix = 56 - after
        if not bits & ((1 << suffix) - 1):
            found.append((bits >> 64 & ((1 << before) - 1)) << after | bits >> suffix & ((1 << after) - 1))
    return [value for value in found if value >> 24] or found[:1]


def _is_isatap(bits: int) -> bool:
    return bits >> 32 & 0xFDFFFFFF == 0x00005EFE  # RFC 5214 §6.1, the universal/local bit either way


def _table(rows: tuple[tuple[str, str], ...]) -> _Table:
    table: _Table = {4: [], 6: []}
    for cidr, words in rows:
        network = ipaddress.ip_network(cidr)
        table[network.version].append((int(network.netmask), int(network.network_address), words))
    return table


def _find(table: _Table, address: Address) -> str | None:
    bits = int(address)
    for mask, network, words in table[address.version]:
        if bits & mask == network:
            return words
    return None


_ALWAYS_TABLE: Final = _table(_ALWAYS)
_NOT_PUBLIC_TABLE: Final = _table(_NOT_PUBLIC)
