import json
import os

import pytest

from proxyd.core.events import NOTICE
from proxyd.telemetry.log import Level, Log


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def written(pipe):
    return os.read(pipe[0], 65536).decode("ascii")


def test_an_event_is_one_json_line_with_its_fields(pipe):
    Log("control", descriptor=pipe[1]).info("config_applied", version=3, listeners=["a", "b"], ok=True, why=None)
    line = written(pipe)
    assert line.endswith("}\n")
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info", "process": "control", "event": "config_applied",
        "version": 3, "listeners": ["a", "b"], "ok": True, "why": None,
    }  # fmt: skip


@pytest.mark.parametrize("human", [True, False])
def test_a_client_s_bytes_never_reach_the_terminal_raw(pipe, human):
    Log("control", descriptor=pipe[1], human=human).error("refused\x1b]0;", host=b"\x1b[2J\n\xff\x7f", name="é\u202e")
    line = written(pipe)
    assert line.count("\n") == 1
    assert "\x1b[2J" not in line
    assert "\x1b]0;" not in line
    assert "\x7f" not in line


def test_events_below_the_level_are_not_written(pipe):
    log = Log("control", descriptor=pipe[1], level=Level.WARNING)
    log.debug("quiet")
    log.info("quiet")
    log.warning("loud")
    assert json.loads(written(pipe))["event"] == "loud"


def test_text_for_a_person_quotes_values_with_spaces(pipe):
    Log("control", descriptor=pipe[1], human=True).info("started", path="/a b", workers=2)
    assert written(pipe).split("control: ")[1] == 'started path="/a b" workers=2\n'


def test_a_long_field_is_cut(pipe):
    Log("control", descriptor=pipe[1]).info("long", text="x" * 20_000)
    assert len(written(pipe)) < 9_000


def test_a_closed_standard_error_does_not_stop_the_daemon():
    reader, writer = os.pipe()
    os.close(reader)
    Log("control", descriptor=writer).info("unheard")
    os.close(writer)


def test_a_notice_is_written_in_the_worker_s_name(pipe):
    assert Log("control", descriptor=pipe[1]).notice("worker-1", [NOTICE, 1.0, "warning", "fd_limit", "EMFILE"])
    record = json.loads(written(pipe))
    assert (record["level"], record["event"], record["from"]) == ("warning", "fd_limit", "worker-1")


@pytest.mark.parametrize(
    "record", [[], [NOTICE], [NOTICE, 1.0, "warning", "name", 7], [1, 1.0, "info", "a", "b"], [[]]]
)
def test_a_malformed_notice_is_refused(pipe, record):
    assert not Log("control", descriptor=pipe[1]).notice("worker-1", record)
