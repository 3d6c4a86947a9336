from proxyd.config.model import Document
from proxyd.config.schema import json_schema, known_keys, resolve, words
from proxyd.core.limits import Limits, PoolLimits
from proxyd.core.service import Timeouts


def test_defaults_stand_in_the_form_that_the_file_takes():
    definitions = json_schema()["$defs"]
    assert definitions["TimeoutsSection"]["properties"]["connect"]["default"] == "5s"
    assert definitions["LimitsSection"]["properties"]["head_bytes"]["default"] == "60KiB"
    assert definitions["LimitsSection"]["properties"]["body_rate"]["default"] == 240


def test_null_is_no_value():
    assert '"null"' not in str(json_schema()).replace("'", '"')


def test_keys_of_a_union_are_those_of_the_scheme_that_is_named():
    document = {"services": {"a": {"auth": {"scheme": "query"}}}}
    assert known_keys(("services", "a", "auth"), document) == ["keep", "scheme", "name", "secret"]
    assert words(("services", "a", "auth"), {}) == ["basic", "bearer", "header", "query"]


def test_every_limit_of_the_core_is_a_key():
    definitions = json_schema()["$defs"]
    for section, noun in (("LimitsSection", Limits), ("PoolSection", PoolLimits), ("TimeoutsSection", Timeouts)):
        assert list(definitions[section]["properties"]) == list(noun.__dataclass_fields__)


def test_every_key_is_described():
    sections = [json_schema(), *json_schema()["$defs"].values()]
    bare = [
        key
        for section in sections
        for key, item in section["properties"].items()
        if not resolve(item).get("description")
    ]
    assert not bare
    assert set(json_schema()["properties"]) == set(Document.model_fields)
