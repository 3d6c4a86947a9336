import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core import records
from proxyd.core.events import ACCESS, ACCESS_FIELDS, ACCESS_SCHEMA, NOTICE, Field, Schema, Type
from proxyd.core.records import Batch, Intake, Record

VALUES = {
    "time": 1_790_000_000.1239, "id": "3f2a", "kind": "http", "listener": "apps", "caller": "127.0.0.1:50000",
    "uid": 1000, "user": None, "mode": "plain", "method": b"GET", "scheme": b"http",
    "authority": "api.tickets.example", "path": b"/v2/items?key=hidden", "service": "tickets",
    "credential": "tickets/token", "status": 200, "flags": "", "error": None, "detail": None, "origin": "upstream",
    "endpoint": "127.0.0.1:8443", "attempts": 1, "reused": True, "request_bytes": 0, "response_bytes": 1024,
    "queue_ms": 0.01234, "connect_ms": None, "first_byte_ms": 1.23456, "total_ms": 2,
    "gid": None, "pid": None, "executable_hint": None, "tries": None, "fallback": None,
        "version": None, "own_credential": None, "dns_ms": None, "tls_ms": None,
}  # fmt: skip
BEGUN = [NOTICE, 1.0, "info", "begun", "all is well"]


def access(**changes):
    values = VALUES | changes
    return [ACCESS, *(values[name] for name in ACCESS_FIELDS)]


def test_valid_records_come_back_by_schema_in_order():
    first, second = access(id="1"), access(id="2", uid=None)
    batch = Intake().take(3, [first, list(BEGUN), second])
    assert batch.worker == 3
    assert batch.of(ACCESS) == [first, second]
    assert batch.of(NOTICE) == [BEGUN]
    assert len(batch) == 3
    assert batch.size > len("api.tickets.example") * 2
    assert batch.of(99) == []


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [[ACCESS]],
        ["1"],
        [True, *access()[1:]],
        [99, "of no schema"],
        [ACCESS],
        access()[: ACCESS_SCHEMA.least - 1],
        [NOTICE, *access()[2:]],
        [*access(), *[0] * 300],
        access(status="200"),
        access(status=True),
        access(path="/text"),
        access(path=None),
        access(user=b"bytes"),
        access(attempts=[1]),
        access(time=math.nan),
        access(time=math.inf),
        access(first_byte_ms=-math.inf),
        access(path=b"/" + b"a" * 300_000),
        access(listener="a" * 257),
        [NOTICE, 1.0, "info", "begun", None],
    ],
)
def test_a_malformed_record_is_dropped_and_counted_and_its_company_is_not(bad):
    intake = Intake()
    good = access(id="good")
    batch = intake.take(0, [access(), bad, list(BEGUN), bad, good])
    assert [record[2] for record in batch.of(ACCESS)] == ["3f2a", "good"]
    assert len(batch.of(NOTICE)) == 1
    assert intake.malformed == 2


def test_a_long_text_within_its_own_bound_passes():
    intake = Intake()
    assert len(intake.take(0, [access(path=b"/" + b"a" * 200_000), access(listener="a" * 256)])) == 2
    assert intake.malformed == 0


def test_a_worker_of_an_older_version_leaves_out_what_was_appended_and_one_of_a_newer_adds():
    appended = Field("cache", Type.TEXT, "How the cache took part.", optional=True, since=ACCESS_SCHEMA.version + 1)
    later = Schema(ACCESS, "access", "", (*ACCESS_SCHEMA.fields, appended))
    assert later.version == ACCESS_SCHEMA.version + 1
    batch = Intake({ACCESS: later}).take(0, [access(), [*access(), "hit"]])
    assert [record[-1] for record in batch.of(ACCESS)] == [None, "hit"]
    batch = Intake().take(0, [[*access(), "hit", [1, 2]]])
    assert batch.of(ACCESS) == [access()]


def test_signatures_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(records, "MAX_SIGNATURES", 2)
    intake = Intake()
    for changes in ({}, {"uid": None}, {"user": "u"}, {"service": None}):
        assert len(intake.take(0, [access(**changes)])) == 1
    assert len(intake._checks[ACCESS]._good) <= 2


def test_a_record_is_looked_at_by_name():
    record = Record(ACCESS_SCHEMA, access())
    assert (record.status, record.path, record.uid) == (200, b"/v2/items?key=hidden", 1000)
    assert record.as_dict() == VALUES
    with pytest.raises(AttributeError, match="no field 'colour'; it has time, id"):
        _ = record.colour


def test_a_batch_is_looked_through_by_record():
    batch = Intake().take(0, [access(id="1"), list(BEGUN), access(id="2")])
    assert [(record.schema.name, record.time) for record in batch] == [
        ("access", VALUES["time"]), ("access", VALUES["time"]), ("notice", 1.0),
    ]  # fmt: skip
    assert batch.only(frozenset({ACCESS, NOTICE})) is batch
    assert len(batch.only(frozenset({NOTICE}))) == 1
    assert len(Batch().only(frozenset({NOTICE}))) == 0


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.lists(PLAIN, max_size=6) | st.builds(lambda tail: [*BEGUN[:2], *tail], st.lists(PLAIN, max_size=5))))
def test_nothing_that_a_frame_can_carry_raises(found):
    count = len(found)
    intake = Intake()
    batch = intake.take(0, found)
    assert len(batch) + intake.malformed == count
    for record in batch.of(NOTICE):
        assert [type(value) for value in record[2:]] == [str, str, str]
        assert math.isfinite(record[1])
