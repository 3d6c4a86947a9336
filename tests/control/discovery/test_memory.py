import json
import random

import pytest
import trio

from proxyd.control.discovery import memory as module
from proxyd.control.discovery.memory import FILE, Memory
from proxyd.control.discovery.watch import Watch
from proxyd.core.discovery import Discovery, Dns, ListFile
from proxyd.core.service import Endpoint

ONE = Discovery("one", Dns("one.example", 443))
TWO = Discovery("two", ListFile("/etc/list.yaml"))
FOUND = (Endpoint("192.0.2.1", 443, 2, 1), Endpoint("2001:db8::1", 443))


def watch(discovery, endpoints, moment=1000.0):
    made = Watch(discovery, trio.Event(), random.Random(1), clock=lambda: moment)
    if endpoints is not None:
        made.found(endpoints)
    return made


def listing(endpoints):
    entry = {"service": "a", "finder": "b", "found": 1, "endpoints": endpoints}
    return json.dumps({"format": 1, "lists": [entry]})


def test_what_is_kept_is_recalled_by_another_process(tmp_path):
    Memory(tmp_path).keep([watch(ONE, FOUND), watch(TWO, [Endpoint("host.example", 80)], 2000.0)])
    later = Memory(tmp_path)
    assert later.recall(ONE) == (FOUND, 1000.0)
    assert later.recall(TWO) == ((Endpoint("host.example", 80),), 2000.0)


def test_a_service_that_is_meant_to_be_nowhere_stays_so(tmp_path):
    Memory(tmp_path).keep([watch(ONE, [])])
    assert Memory(tmp_path).recall(ONE) == ((), 1000.0)


def test_a_list_that_was_never_found_is_not_kept(tmp_path):
    Memory(tmp_path).keep([watch(ONE, None)])
    assert Memory(tmp_path).recall(ONE) is None


def test_another_finder_of_the_same_service_has_found_nothing(tmp_path):
    Memory(tmp_path).keep([watch(ONE, FOUND)])
    assert Memory(tmp_path).recall(Discovery("one", Dns("other.example", 443))) is None


def test_without_a_file_nothing_is_known_and_nothing_is_wrong(tmp_path):
    memory = Memory(tmp_path)
    assert (memory.recall(ONE), memory.problem) == (None, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2, "lists": []}',
        '{"format": 1}',
        '{"format": 1, "lists": [{"service": "one"}]}',
        listing([["x y", 1, 1, 0]]),
        listing([["a", 0, 1, 0]]),
        listing([["a", 1, 0, 0]]),
        listing([[1, 1, 1, 0]]),
        listing([[]] * 1025),
        "[" * 100_000,
    ],
)
def test_a_file_that_is_not_ours_is_told_and_left_alone(tmp_path, text):
    path = tmp_path / FILE
    path.write_text(text)
    path.chmod(0o600)
    memory = Memory(tmp_path)
    assert memory.recall(ONE) is None
    assert str(path) in memory.problem
    assert path.read_text() == text


def test_a_file_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    (tmp_path / FILE).write_text(" " * 101)
    (tmp_path / FILE).chmod(0o600)
    memory = Memory(tmp_path)
    assert memory.recall(ONE) is None
    assert "more than 100 bytes" in memory.problem


def test_lists_beyond_the_bound_of_the_file_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 300)
    Memory(tmp_path).keep([watch(ONE, FOUND), watch(TWO, FOUND)])
    assert (tmp_path / FILE).stat().st_size <= 300
    memory = Memory(tmp_path)
    assert (memory.recall(ONE), memory.recall(TWO)) == ((FOUND, 1000.0), None)


def test_a_writer_that_was_killed_leaves_the_former_lists(tmp_path, monkeypatch):
    memory = Memory(tmp_path)
    memory.keep([watch(ONE, FOUND)])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        memory.keep([watch(ONE, [])])
    assert Memory(tmp_path).recall(ONE) == (FOUND, 1000.0)
