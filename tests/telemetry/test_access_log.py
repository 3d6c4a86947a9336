import errno
import json
import math
import os

import pytest
import trio
import trio.testing

from proxyd.core.events import ACCESS, ACCESS_FIELDS
from proxyd.telemetry import access_log
from proxyd.telemetry.access_log import AccessLog, Encoder

VALUES = {
    "time": 1_790_000_000.1239, "id": "3f2a", "kind": "http", "listener": "apps", "caller": "127.0.0.1:50000",
    "uid": 1000, "user": None, "mode": "plain", "method": b"GET", "scheme": b"http",
    "authority": "api.tickets.example", "path": b"/v2/items?key=hidden", "service": "tickets",
    "credential": "tickets/token", "status": 200, "flags": "", "error": None, "detail": None, "origin": "upstream",
    "endpoint": "127.0.0.1:8443", "attempts": 1, "reused": True, "request_bytes": 0, "response_bytes": 1024,
    "queue_ms": 0.01234, "connect_ms": None, "first_byte_ms": 1.23456, "total_ms": 2,
}  # fmt: skip


def record(**changes):
    values = VALUES | changes
    return [ACCESS, *(values[name] for name in ACCESS_FIELDS)]


def encode(**changes):
    return Encoder().encode(record(**changes))


def test_a_line_carries_every_field_by_name():
    fields = json.loads(encode())
    assert tuple(fields) == ACCESS_FIELDS
    assert fields == VALUES | {
        "time": "2026-09-21T14:13:20.123Z", "method": "GET", "scheme": "http", "path": "/v2/items?<redacted>",
        "queue_ms": 0.012, "first_byte_ms": 1.235,
    }  # fmt: skip


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
    encoder = Encoder()
    times = [json.loads(encoder.encode(record(time=moment)))["time"] for moment in (0.0, 0.999, 1.0, 0.5)]
    assert times == [f"1970-01-01T00:00:0{tail}Z" for tail in ("0.000", "0.999", "1.000", "0.500")]


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [ACCESS],
        record()[:-1],
        [*record(), 1],
        [2, *record()[1:]],
        record(status="200"),
        record(status=True),
        record(path="/text"),
        record(path=None),
        record(user=b"bytes"),
        record(attempts=[1]),
        record(time=math.nan),
        record(time=math.inf),
        record(time=1e300),
        record(detail="\ud800"),
        record(path=b"/" + b"a" * 300_000),
        record(status=2**70),
    ],
)
def test_a_malformed_record_is_dropped(bad):
    assert Encoder().encode(bad) is None


def test_signatures_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(access_log, "_SIGNATURES", 2)
    encoder = Encoder()
    for changes in ({}, {"uid": None}, {"user": "u"}, {"service": None}):
        assert encoder.encode(record(**changes)) is not None
    assert len(encoder._good) <= 2


class Reports(list):
    def __call__(self, name, detail):
        self.append(name)


@pytest.fixture
async def log(tmp_path):
    log = AccessLog(Reports())
    log.open(str(tmp_path / "access.jsonl"))
    return log


def lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_records_reach_the_file_in_order(log, tmp_path):
    log.add([record(id="1"), record(id="2")])
    log.add([record(id="3")])
    await log.flush()
    assert [line["id"] for line in lines(tmp_path / "access.jsonl")] == ["1", "2", "3"]
    assert (tmp_path / "access.jsonl").stat().st_mode & 0o777 == 0o640


async def test_a_malformed_record_is_counted_and_its_batch_written(log, tmp_path):
    log.add([record(id="1"), ["rubbish"], record(id="2")])
    await log.flush()
    assert [line["id"] for line in lines(tmp_path / "access.jsonl")] == ["1", "2"]
    assert log.malformed == 1


async def test_a_batch_is_one_write(log, monkeypatch):
    writes = []
    monkeypatch.setattr(os, "write", lambda _, data: writes.append(len(data)) or len(data))
    log.add([record()] * 10)
    await log.flush()
    assert writes == [10 * len(encode())]


async def test_a_line_waits_for_company_no_longer_than_a_batch_takes(log, nursery, tmp_path, autojump_clock):
    nursery.start_soon(log.run)
    log.add([record()])
    await trio.sleep(2 * access_log.BATCH_SECONDS)
    await trio.testing.wait_all_tasks_blocked()
    await log.flush()  # waits for the batch that is being written
    assert len(lines(tmp_path / "access.jsonl")) == 1


async def test_the_last_batch_is_written_at_the_end(log, tmp_path):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await trio.testing.wait_all_tasks_blocked()
        log.add([record()])
        nursery.cancel_scope.cancel()
    assert len(lines(tmp_path / "access.jsonl")) == 1


async def test_opening_again_follows_a_rotation(log, tmp_path):
    path = tmp_path / "access.jsonl"
    log.add([record(id="old")])
    await log.flush()
    path.rename(tmp_path / "access.jsonl.1")
    log.open(str(path))
    log.add([record(id="new")])
    await log.flush()
    assert [line["id"] for line in lines(path)] == ["new"]
    assert [line["id"] for line in lines(tmp_path / "access.jsonl.1")] == ["old"]


async def test_opening_again_without_rotation_keeps_the_descriptor(log, tmp_path):
    before = log._descriptor
    log.open(str(tmp_path / "access.jsonl"))
    assert log._descriptor == before


async def test_a_path_that_cannot_be_opened_leaves_the_old_one(log, tmp_path):
    with pytest.raises(FileNotFoundError):
        log.open(str(tmp_path / "absent" / "access.jsonl"))
    log.add([record()])
    await log.flush()
    assert len(lines(tmp_path / "access.jsonl")) == 1


async def test_lines_beyond_the_buffer_are_lost_and_counted(tmp_path):
    log = AccessLog(Reports(), buffer_bytes=len(encode()) * 2)
    log.open(str(tmp_path / "access.jsonl"))
    log.add([record()] * 5)
    assert log.lost == 3
    log.close()
    assert log.lost == 5
    log.add([record()])
    assert log.lost == 5


async def test_a_full_disk_is_reported_once_and_lines_resume(tmp_path, monkeypatch):
    reports = Reports()
    log = AccessLog(reports)
    log.open(str(tmp_path / "access.jsonl"))

    def append(descriptor, data):
        os.write(descriptor, data[:10])  # as a disk does that fills in the middle of a line
        return 10, OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(access_log, "_append", append)
        for _ in range(2):
            log.add([record(), record()])
            await log.flush()
    assert reports == ["access_log_failed"]
    log.add([record(id="after")])
    await log.flush()
    assert reports == ["access_log_failed", "access_log_resumed"]
    assert log.lost == 4
    assert json.loads((tmp_path / "access.jsonl").read_bytes().splitlines()[-1])["id"] == "after"


def test_what_the_kernel_refuses_is_returned_not_raised():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    written, problem = access_log._append(descriptor, b"x")
    os.close(descriptor)
    assert written == 0
    assert problem.errno == errno.ENOSPC


async def test_standard_output_is_a_path(capfd):
    log = AccessLog(Reports())
    log.open("-")
    log.add([record(id="out")])
    await log.flush()
    assert json.loads(capfd.readouterr().out)["id"] == "out"
