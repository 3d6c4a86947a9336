"""Header compression against the RFC's own examples and the hpack library, both ways."""

import hpack as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.wire.hpack import BombError, CompressionError, Decoder, Encoder, Never

# RFC 7541 appendix C: blocks of one connection each, and what they say.
C3 = [
    ("828684410f7777772e6578616d706c652e636f6d", "GET http / www.example.com"),
    ("828684be58086e6f2d6361636865", "GET http / www.example.com no-cache"),
    (
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        "GET https /index.html www.example.com custom-value",
    ),
]
C4 = [
    ("828684418cf1e3c2e5f23a6ba0ab90f4ff", "GET http / www.example.com"),
    ("828684be5886a8eb10649cbf", "GET http / www.example.com no-cache"),
    ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", "GET https /index.html www.example.com custom-value"),
]
C6 = [
    (
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "302 private Mon,_21_Oct_2013_20:13:21_GMT https://www.example.com",
    ),
    ("4883640effc1c0bf", "307 private Mon,_21_Oct_2013_20:13:21_GMT https://www.example.com"),
    (
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af270"
        "87f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        "200 private Mon,_21_Oct_2013_20:13:22_GMT https://www.example.com gzip "
        "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU;_max-age=3600;_version=1",
    ),
]


@pytest.mark.parametrize("blocks", [C3, C4], ids=["C.3", "C.4"])
def test_the_examples_of_the_rfc(blocks: list[tuple[str, str]]) -> None:
    decoder = Decoder(10_000)
    for block, values in blocks:
        fields = decoder.decode(bytes.fromhex(block))
        assert " ".join(value.decode() for _, value in fields) == values


def test_the_example_whose_table_of_256_bytes_overflows() -> None:
    decoder = Decoder(10_000)
    decoder.decode(b"\x3f\xe1\x01")  # the table becomes one of 256 bytes
    for block, values in C6:
        fields = decoder.decode(bytes.fromhex(block))
        assert " ".join(value.decode().replace(" ", "_") for _, value in fields) == values


def test_a_field_that_must_not_be_indexed_is_known_by_its_type() -> None:
    fields = Decoder(1000).decode(bytes.fromhex("100870617373776f726406736563726574"))
    assert fields == [(b"password", b"secret")]
    assert isinstance(fields[0], Never)


BROKEN = {
    "index 0": "80",
    "an index beyond both tables": "be",
    "a name beyond both tables": "7f0001",
    "no value": "04",
    "half a value": "040561",
    "half a name": "4005",
    "an integer without end": "ffffffffffffffffff",
    "an integer cut off": "ff",
    "a resize beyond what SETTINGS allow": "3fe21f",
    "a resize within a block": "823e",
    "EOS within Huffman code": "4084ffffffff8161",
    "Huffman padding of zeros": "00816100",
}


@pytest.mark.parametrize("block", BROKEN.values(), ids=BROKEN.keys())
def test_broken_blocks_are_refused(block: str) -> None:
    with pytest.raises(CompressionError):
        Decoder(10_000).decode(bytes.fromhex(block))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    decoder = Decoder(60 * 1024)
    decoder.decode(b"\x40\x01a" + b"\x7f\x81\x1f" + b"x" * 4096)  # too large for the table
    decoder.decode(b"\x40\x01a" + b"\x7f\x80\x1e" + b"x" * (0x1E * 128 + 0x7F))
    with pytest.raises(BombError):
        decoder.decode(b"\xbe" * 16_000)  # 62 MB


NAMES = st.sampled_from([b":path", b"accept", b"x-a", b"x-b", b"content-type", b"authorization", b"etag"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=200), st.booleans()), max_size=12)


@given(st.lists(st.tuples(FIELDS, st.one_of(st.none(), st.integers(0, 5000))), max_size=12))
def test_what_is_encoded_is_what_others_decode(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], int | None]],
) -> None:
    encoder, own, other = Encoder(), Decoder(1 << 20), reference.Decoder()
    for fields, size in blocks:
        if size is not None:
            encoder.header_table_size = size
            own.max_allowed_table_size = other.max_allowed_table_size = size
        block = encoder.encode(fields)
        expected = [(name, value) for name, value, _ in fields]
        assert own.decode(block) == expected
        found = other.decode(block, raw=True)
        assert [(bytes(name), bytes(value)) for name, value in found] == expected
        assert all(not field.indexable for field, sent in zip(found, fields, strict=True) if sent[2])


@given(st.lists(FIELDS, max_size=12))
def test_what_others_encode_is_decoded(blocks: list[list[tuple[bytes, bytes, bool]]]) -> None:
    encoder, decoder = reference.Encoder(), Decoder(1 << 20)
    for fields in blocks:
        found = decoder.decode(encoder.encode(fields))
        assert found == [(name, value) for name, value, _ in fields]


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_noise_is_decoded_or_refused(blocks: list[bytes]) -> None:
    decoder = Decoder(4096)
    try:
        for block in blocks:
            decoder.decode(block)
    except (CompressionError, BombError):
        pass


def test_a_repeated_head_costs_a_byte_a_field() -> None:
    encoder = Encoder()
    fields = [(b"x-a", b"1", False), (b"x-b", b"2", False), (b":status", b"200", False)]
    encoder.encode(fields)
    assert len(encoder.encode(fields)) == 3


def test_a_secret_never_enters_the_table() -> None:
    encoder = Encoder()
    first = encoder.encode([(b"authorization", b"Bearer x", True)])
    assert first[0] & 0xF0 == 0x10
    assert encoder.encode([(b"authorization", b"Bearer x", True)]) == first


def test_a_table_that_shrinks_and_grows_between_blocks_is_announced_by_both_sizes() -> None:
    encoder = Encoder()
    for size in (100, 4096, 50, 3000):
        encoder.header_table_size = size
    assert encoder.encode([(b":method", b"GET", False)]) == bytes.fromhex("3f133f991782")


def test_a_string_that_comes_again_is_decoded_once_and_a_secret_each_time() -> None:
    decoder = Decoder(1000)
    for _ in range(2):
        assert decoder.decode(bytes.fromhex("048cf1e3c2e5f23a6ba0ab90f4ff")) == [(b":path", b"www.example.com")]
        assert decoder.decode(bytes.fromhex("1f0886a8eb10649cbf")) == [(b"authorization", b"no-cache")]
    assert list(decoder._decoded.values()) == [b"www.example.com"]
