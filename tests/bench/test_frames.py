import socket

import pytest

from bench.scenarios.frames import DATA, ENDED, GOAWAY, HEADERS, SETTINGS, WHOLE, answered, frame, opening_bytes
from proxyd.core.limits import Http2Limits
from proxyd.wire.http2 import Codec, Head

URL = "http://127.0.0.1:8080/plain/v2/item"


@pytest.fixture
def pair():
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(5)
        yield client, server


def test_the_request_is_one_that_the_codec_takes():
    codec = Codec(client=False, limits=Http2Limits())
    codec.begin()
    (head,) = [event for event in codec.receive(opening_bytes(URL)) if isinstance(event, Head)]
    fields = {name: value for name, value, *_ in head.fields}
    assert fields[b":authority"] == b"127.0.0.1:8080"
    assert fields[b":path"] == b"/plain/v2/item"
    assert head.ended


@pytest.mark.parametrize("block", [b"\x88", b"\x3f\x00\x88", b"\x20\x88"])
def test_an_answer_is_read_to_its_end_and_settings_are_acknowledged(pair, block):
    client, server = pair
    server.sendall(
        frame(SETTINGS, 0, 0)
        + frame(HEADERS, WHOLE, 1, block)
        + frame(DATA, 0, 1, b"some")
        + frame(DATA, ENDED, 1, b"more")
    )
    assert answered(client, b"opening") == 200
    assert server.recv(100) == b"opening" + frame(SETTINGS, 1, 0)


@pytest.mark.parametrize("ending", [frame(GOAWAY, 0, 0, bytes(8)), frame(3, 0, 1, bytes(4)), b""])
def test_what_ends_without_an_answer_has_no_status(pair, ending):
    client, server = pair
    server.sendall(frame(SETTINGS, 0, 0) + ending)
    server.shutdown(socket.SHUT_WR)
    assert answered(client, b"opening") == 0
