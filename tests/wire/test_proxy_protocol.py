"""The PROXY protocol byte by byte: what is read, what is refused, and that nothing behind a header is taken."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.wire.proxy_protocol import (
    MAX_V1,
    MAX_V2,
    SIGNATURE,
    Header,
    MalformedHeader,
    Place,
    Reader,
    crc32c,
    header,
)

FOUR = Place("192.0.2.7", 40000)
SIX = Place("2001:db8::7", 40000)
V4_BLOCK = bytes((192, 0, 2, 7, 198, 51, 100, 1)) + (40000).to_bytes(2, "big") + (443).to_bytes(2, "big")


def v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def field(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def checked(block: bytes, wrong: int = 0) -> bytes:
    """Return a header of version 2 with a checksum field at its end."""
    zeroed = v2(0x21, 0x11, block + field(3, b"\0\0\0\0"))
    return zeroed[:-4] + (crc32c(zeroed) ^ wrong).to_bytes(4, "big")


GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", Header(FOUR)),
    (b"PROXY TCP6 2001:db8::7 ::1 40000 443\r\n", Header(SIX)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 40000 443\r\n", Header(FOUR)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", Header(Place("255.255.255.255", 65535))),
    (b"PROXY UNKNOWN\r\n", Header(None)),
    (b"PROXY UNKNOWN " + b"f" * (MAX_V1 - 16) + b"\r\n", Header(None)),
    (v2(0x20, 0x00, b""), Header(None, is_local=True)),
    (v2(0x20, 0xFF, b"whatever this is"), Header(None, is_local=True)),
    (v2(0x21, 0x11, V4_BLOCK), Header(FOUR)),
    (v2(0x21, 0x11, V4_BLOCK + field(4, b"") + field(2, b"a.example") + field(0x20, b"\x01\0\0\0\0")), Header(FOUR)),
    (v2(0x21, 0x12, V4_BLOCK), Header(None)),
    (v2(0x21, 0x00, b""), Header(None)),
    (v2(0x21, 0x31, bytes(216)), Header(None)),
    (v2(0x21, 0x21, ipaddress.ip_address(SIX.address).packed * 2 + b"\x9c\x40\x01\xbb"), Header(SIX)),
    (checked(V4_BLOCK), Header(FOUR)),
    (checked(V4_BLOCK + field(4, bytes(MAX_V2 - 16 - 12 - 7 - 3))), Header(FOUR)),
]
BAD = [
    b"GET / HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"\x05\x01\x00",
    b"PROXY\tTCP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
    b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
    b"PROXY TCP4 \xb2.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"f" * MAX_V1,
    v2(0x22, 0x11, V4_BLOCK),
    v2(0x11, 0x11, V4_BLOCK),
    v2(0x21, 0x13, V4_BLOCK),
    v2(0x21, 0x41, V4_BLOCK),
    v2(0x21, 0x11, V4_BLOCK[:-1]),
    v2(0x21, 0x21, V4_BLOCK),
    v2(0x21, 0x11, V4_BLOCK + b"\x04\x00"),
    v2(0x21, 0x11, V4_BLOCK + b"\x04\x00\x02a"),
    v2(0x21, 0x11, V4_BLOCK + field(3, b"\0\0\0")),
    checked(V4_BLOCK, wrong=1),
    checked(V4_BLOCK + field(3, bytes(4))),
    SIGNATURE + b"\x21\x11" + (MAX_V2 - 15).to_bytes(2, "big"),
]


def read(pieces: list[bytes], behind: bytes = b"") -> tuple[Header | None, bytes]:
    """Return what a reader makes of pieces that come one after the other, and the bytes that it left."""
    reader, waiting = Reader(), b""
    for piece in [*pieces, behind]:
        waiting += piece
        while waiting and reader.header is None:
            taken = reader.take(waiting)
            assert taken > 0, "it would spin"
            waiting = waiting[taken:]
    return reader.header, waiting


@pytest.mark.parametrize(("data", "expected"), GOOD)
def test_a_header_is_read_whole_and_byte_by_byte(data: bytes, expected: Header) -> None:
    for behind in (b"", b"\n", b"PROXY UNKNOWN\r\n", SIGNATURE, b"\x16\x03\x01"):
        assert read([data + behind]) == (expected, behind)
        assert read([data[at : at + 1] for at in range(len(data))], behind) == (expected, behind)


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_header_is_refused_whole_and_byte_by_byte(data: bytes) -> None:
    with pytest.raises(MalformedHeader):
        read([data])
    with pytest.raises(MalformedHeader):
        read([data[at : at + 1] for at in range(len(data))])


@pytest.mark.parametrize("data", [data for data, _ in GOOD])
def test_a_part_of_a_header_is_none(data: bytes) -> None:
    for end in range(1, len(data)):
        assert read([data[:end]]) == (None, b"")


@given(st.binary(min_size=1, max_size=300), st.data())
def test_noise_is_read_the_same_whole_and_in_pieces(noise: bytes, data: st.DataObject) -> None:
    begin = data.draw(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0"]))
    noise = begin + noise
    cuts = sorted(data.draw(st.lists(st.integers(0, len(noise)), max_size=5)))
    pieces = [noise[one:other] for one, other in zip([0, *cuts], [*cuts, len(noise)], strict=True)]
    results: list[object] = []
    for cut in ([noise], pieces):
        try:
            results.append(read(cut))
        except MalformedHeader:
            results.append("malformed")
    assert results[0] == results[1]


places = st.builds(lambda address, port: Place(str(address), port), st.ip_addresses(v=4), st.integers(0, 65535))
wide = st.builds(lambda address, port: Place(str(address), port), st.ip_addresses(v=6), st.integers(0, 65535))


@given(st.sampled_from(["v1", "v2"]), places | wide, places | wide)
def test_what_is_written_is_read(version: str, source: Place, destination: Place) -> None:
    told, rest = read([header(version, source, destination)], b"rest")
    assert rest == b"rest"
    assert told is not None
    assert told.source is not None
    assert told.source.port == source.port
    mapped = ipaddress.ip_address(source.address)
    plain = mapped.ipv4_mapped if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped else mapped
    assert told.source.address == str(plain)


def test_without_addresses_none_are_told() -> None:
    assert header("v1", None, FOUR) == b"PROXY UNKNOWN\r\n"
    assert read([header("v2", None, None)])[0] == Header(None, is_local=True)


def test_two_families_are_told_as_one() -> None:
    line = header("v1", FOUR, Place("2001:db8::1", 443))
    assert line == b"PROXY TCP6 ::ffff:c000:0207 2001:db8::1 40000 443\r\n"


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
