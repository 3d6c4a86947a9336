import json
import math

import pytest

from proxyd.core.events import ACCESS_FIELDS
from proxyd.sdk.testing import access
from proxyd_plugins.access_log.lines import Encoder

PLENTY = 1 << 30


def encode(**changes):
    buffer = bytearray()
    return bytes(buffer) if Encoder().encode([access(**changes)], buffer, PLENTY) == (1, 0) else None


def test_a_line_carries_every_field_by_name():
    assert encode() == (
        b'{"time":"2026-09-21T14:13:20.123Z","id":"3f2a","kind":"http","listener":"apps","caller":"127.0.0.1:50000",'
        b'"uid":1000,"user":null,"mode":"plain","method":"GET","scheme":"http","authority":"api.tickets.example",'
        b'"path":"/v2/items?<redacted>","service":"tickets","credential":"tickets/token","status":200,"flags":"",'
        b'"error":null,"detail":null,"origin":"upstream","endpoint":"127.0.0.1:8443","attempts":1,"reused":true,'
        b'"request_bytes":0,"response_bytes":1024,"queue_ms":0.012,"connect_ms":null,"first_byte_ms":1.235,'
        b'"total_ms":2}\n'
    )


def test_a_line_says_which_process_called_on_a_unix_socket_which_attempts_failed_and_who_answered():
    line = json.loads(
        encode(
            caller="unix",
            gid=100,
            pid=4711,
            executable_hint="/usr/bin/curl\n",
            tries="a 503",
            fallback="other",
            version="2",
            own_credential="x-api-key",
            dns_ms=0.25,
            tls_ms=12.34567,
        )
    )
    assert line["tls_ms"] == 12.346
    assert tuple(line) == ACCESS_FIELDS
    assert (line["gid"], line["pid"], line["executable_hint"]) == (100, 4711, "/usr/bin/curl\n")


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        (b"", ""),
        (b"/a", "/a"),
        (b"/a?", "/a?<redacted>"),
        (b"/a?b=c?d", "/a?<redacted>"),
        (b"/\x00\n\x1b[2J", "/\x00\n\x1b[2J"),
        (b"/\x7f", "/\x7f"),
        ("/é\u202e".encode(), "/é\u202e"),
        (b"/\xff\xc3(", "/\\xff\\xc3("),
        (b'/"\\', '/"\\'),
    ],
)
def test_a_client_s_bytes_are_escaped_and_its_query_is_not_logged(path, logged):
    line = encode(path=path)
    assert line.endswith(b"}\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert json.loads(line)["path"] == logged


def test_milliseconds_of_one_second_share_a_stamp_and_the_next_second_does_not():
    buffer = bytearray()
    Encoder().encode([access(time=moment) for moment in (0.0, 0.999, 1.0, 0.5)], buffer, PLENTY)
    times = [json.loads(line)["time"] for line in buffer.splitlines()]
    assert times == [f"1970-01-01T00:00:0{tail}Z" for tail in ("0.000", "0.999", "1.000", "0.500")]


@pytest.mark.parametrize(
    "changes",
    [
        {"time": math.inf},
        {"time": 1e300},
        {"detail": "\ud800"},
        {"path": b"/" + b"a" * 300_000},
        {"status": 2**70},
    ],
)
def test_a_record_that_makes_no_line_is_counted_and_its_neighbours_are_written(changes):
    buffer = bytearray()
    counts = Encoder().encode([access(id="1"), access(**changes), access(id="2")], buffer, PLENTY)
    assert counts == (2, 1)
    assert [json.loads(line)["id"] for line in buffer.splitlines()] == ["1", "2"]


def test_a_line_that_finds_no_room_is_left_out_whole():
    buffer, size = bytearray(), len(encode())
    assert Encoder().encode([access()] * 5, buffer, 2 * size + size // 2) == (2, 0)
    assert len(buffer) == 2 * size
