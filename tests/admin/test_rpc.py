import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.admin.rpc import Call, Decoder, ProtocolError, answer, failure, notification
from proxyd.core.refusal import Refusal

REQUESTS = msgpack.packb([0, 1, "status", []]) + msgpack.packb([2, "note", []]) + msgpack.packb([0, 2, "pools", [1]])
CALLS = [Call(1, "status", []), Call(2, "pools", [1])]


def test_requests_are_decoded_and_notifications_ignored():
    assert Decoder().feed(REQUESTS) == CALLS


def test_a_byte_at_a_time_is_the_same_as_one_chunk():
    decoder = Decoder()
    assert [call for byte in REQUESTS for call in decoder.feed(bytes([byte]))] == CALLS


@pytest.mark.parametrize(
    "message",
    [
        [1, 1, None, None],
        [0, 1, "status"],
        [0, -1, "status", []],
        [0, 2**32, "status", []],
        [0, "1", "status", []],
        [False, 1, "status", []],
        [0, 1, b"status", []],
        [0, 1, "status", {}],
        [2, 7, []],
        [3, 1, "status", []],
        {"method": "status"},
        7,
        None,
    ],
)
def test_what_is_no_request_ends_the_connection(message):
    with pytest.raises(ProtocolError):
        Decoder().feed(msgpack.packb(message))


@pytest.mark.parametrize("data", [b"\xc1", b"GET / HTTP/1.1\r\n\r\n", b"\x94\x00\x01\xa1\xff\x90", b"\x91" * 5000])
def test_what_is_no_messagepack_ends_the_connection(data):
    with pytest.raises(ProtocolError):
        Decoder().feed(data)


def test_a_message_over_the_limit_ends_the_connection():
    decoder = Decoder(limit=1024)
    with pytest.raises(ProtocolError):
        decoder.feed(msgpack.packb([0, 1, "status", ["x" * 2000]]))


def test_a_message_that_claims_to_be_huge_is_buffered_up_to_the_limit_only():
    decoder = Decoder(limit=64 * 1024)
    decoder.feed(b"\x94\x00\x01\xdb\xff\xff\xff\xff")
    decoder.feed(b"x" * 63 * 1024)
    with pytest.raises(ProtocolError):
        decoder.feed(b"x" * 2 * 1024)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    try:
        Decoder().feed(data)
    except ProtocolError:
        return


def test_answers_are_as_the_specification_says():
    call = Call(7, "status", [])
    assert msgpack.unpackb(answer(call, {"a": 1})) == [1, 7, None, {"a": 1}]
    assert msgpack.unpackb(failure(call, Refusal("gone", "it is gone"))) == [
        1, 7, {"code": "gone", "message": "it is gone"}, None,
    ]  # fmt: skip
    assert msgpack.unpackb(failure(call, Refusal("x", "y", "z")))[2]["nearest"] == "z"
    assert msgpack.unpackb(notification("exchange", [1, {"status": 200}])) == [2, "exchange", [1, {"status": 200}]]
