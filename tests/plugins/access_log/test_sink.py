import errno
import json
import os

import pytest
import trio
import trio.testing

from proxyd.sdk.options import OptionsError
from proxyd.sdk.testing import FakeHost, access, batch, feed, notice, opened
from proxyd_plugins.access_log import AccessLog, sink
from proxyd_plugins.access_log.sink import Options


@pytest.fixture
def host(tmp_path):
    return FakeHost(tmp_path, "access_log")


def ids(path):
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


async def test_records_reach_the_file_in_order(host, tmp_path):
    async with opened(AccessLog, {"path": "access.jsonl"}, host) as log:
        await feed(log, access(id="1"), notice(), access(id="2"))
        await feed(log, access(id="3"))
        assert ids(tmp_path / "access.jsonl") == ["1", "2", "3"]


async def test_a_record_that_makes_no_line_is_counted_and_its_batch_written(host, tmp_path):
    async with opened(AccessLog, {"path": "access.jsonl"}, host) as log:
        await feed(log, access(id="1"), access(time=1e300), access(id="2"))
    assert ids(tmp_path / "access.jsonl") == ["1", "2"]
    assert host.losses == {"malformed": 1}


async def test_a_batch_is_one_write(host, monkeypatch):
    async with opened(AccessLog, {"path": "access.jsonl"}, host) as log:
        writes = []
        monkeypatch.setattr(os, "write", lambda _, data: writes.append(bytes(data)) or len(data))
        await feed(log, *[access()] * 10)
        assert [data.count(b"\n") for data in writes] == [10]


async def test_a_line_waits_for_company_no_longer_than_a_batch_takes(host, tmp_path, autojump_clock):
    async with opened(AccessLog, {"path": "access.jsonl"}, host) as log:
        await log.events(batch(access(id="1")))
        await trio.sleep(2 * sink.BATCH_SECONDS)
        async with log._writing:  # the batch that is being written
            assert ids(tmp_path / "access.jsonl") == ["1"]


async def test_many_lines_do_not_wait(host, tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "BATCH_SECONDS", 1e6)
    monkeypatch.setattr(sink, "BATCH_BYTES", 1)
    async with opened(AccessLog, {"path": "access.jsonl"}, host) as log:
        await log.events(batch(access(id="1")))
        await trio.testing.wait_all_tasks_blocked()
        async with log._writing:
            assert ids(tmp_path / "access.jsonl") == ["1"]


async def test_lines_beyond_the_buffer_are_lost_and_counted(host, tmp_path):
    log = AccessLog(Options("access.jsonl"), host, buffer_bytes=1200)
    await log.open()
    await log.events(batch(*[access()] * 5))
    assert host.losses == {"full": 3}
    assert "waiting=2 lost=3" in repr(log)
    await log.flush()
    assert len(ids(tmp_path / "access.jsonl")) == 2
    await log.events(batch(access()))
    await log.aclose()
    assert host.losses == {"full": 3, "closed": 1}


async def test_a_full_disk_is_reported_once_and_lines_resume(host, tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with opened(AccessLog, {"path": "access.jsonl"}, host) as log:
        with monkeypatch.context() as disk:
            disk.setattr(os, "write", full)
            for _ in range(3):
                await feed(log, access(), access())
        assert host.events == ["access_log_failed"]
        assert host.text == f"{tmp_path}/access.jsonl: No space left on device; lines are lost until it is writable"
        await feed(log, access(id="after"))
    assert host.events == ["access_log_failed", "access_log_resumed"]
    assert "6 lines were lost" in host.logged[-1][2]
    assert host.text == ""
    assert host.losses == {"failed": 6}
    assert ids(tmp_path / "access.jsonl") == ["after"]


async def test_reopening_follows_a_rotation(host, tmp_path):
    async with opened(AccessLog, {"path": "access.jsonl"}, host) as log:
        await feed(log, access(id="old"))
        (tmp_path / "access.jsonl").rename(tmp_path / "access.jsonl.1")
        await log.reopen()
        assert (tmp_path / "access.jsonl").exists()
        await feed(log, access(id="new"))
    assert ids(tmp_path / "access.jsonl") == ["new"]
    assert ids(tmp_path / "access.jsonl.1") == ["old"]


async def test_a_rotation_that_cannot_be_followed_is_told_once_and_loses_nothing(host, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    async with opened(AccessLog, {"path": "logs/access.jsonl"}, host) as log:
        folder.rename(tmp_path / "moved")
        for _ in range(2):
            await log.reopen()
        await feed(log, access(id="kept"))
    assert host.events == ["access_log_not_reopened"]
    assert ids(tmp_path / "moved" / "access.jsonl") == ["kept"]


async def test_a_path_that_cannot_be_opened_is_said(host):
    with pytest.raises(FileNotFoundError):
        async with opened(AccessLog, {"path": "absent/access.jsonl"}, host):
            raise AssertionError("it is not opened")
    with pytest.raises(OptionsError, match="path: the key is missing"):
        async with opened(AccessLog, {}, host):
            raise AssertionError("it is not opened")


async def test_standard_output_is_a_path(host, capfd):
    async with opened(AccessLog, {"path": "-"}, host) as log:
        await feed(log, access(id="out"))
    assert json.loads(capfd.readouterr().out)["id"] == "out"
