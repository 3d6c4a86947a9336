"""The schemas keep what is promised about them."""

import pytest

from proxyd.core.events import ACCESS_SCHEMA, NOTICE_SCHEMA, SCHEMAS, SHORT, Type
from proxyd.core.records import Batch, Record

ACCESS_1 = (
    "time", "id", "kind", "listener", "caller", "uid", "user", "mode", "method", "scheme", "authority", "path",
    "service", "credential", "status", "flags", "error", "detail", "origin", "endpoint", "attempts", "reused",
    "request_bytes", "response_bytes", "queue_ms", "connect_ms", "first_byte_ms", "total_ms",
)  # fmt: skip
NOTICE_1 = ("time", "level", "name", "detail")


@pytest.mark.parametrize(("schema", "names"), [(ACCESS_SCHEMA, ACCESS_1), (NOTICE_SCHEMA, NOTICE_1)])
def test_what_was_published_stays_where_it_was(schema, names):
    assert schema.names[: len(names)] == names
    assert all(field.since == 1 for field in schema.fields[: len(names)])
    assert schema.least == 1 + len(names)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=lambda schema: schema.name)
def test_a_schema_follows_its_rules(schema):
    versions = [field.since for field in schema.fields]
    assert versions == sorted(versions)
    assert schema.version == versions[-1]
    assert all(field.optional for field in schema.fields if field.since > 1)
    assert all(field.longest >= SHORT for field in schema.fields if field.type in (Type.TEXT, Type.BYTES))
    assert len(set(schema.names)) == len(schema.names)
    assert not set(schema.names) & (set(dir(Record)) | set(dir(Batch)))
    assert schema.place == {name: index for index, name in enumerate(schema.names, 1)}


def test_ids_and_names_are_unique():
    assert all(number == schema.id for number, schema in SCHEMAS.items())
    assert len({schema.name for schema in SCHEMAS.values()}) == len(SCHEMAS)
