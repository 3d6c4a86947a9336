from proxyd.auth.registry import SCHEMES
from proxyd.config.model import FORM, Document
from proxyd.core.limits import Limits, PoolLimits
from proxyd.core.service import Timeouts


def test_defaults_stand_in_the_form_that_the_file_takes():
    definitions = FORM.schema["$defs"]
    assert definitions["TimeoutsSection"]["properties"]["connect"]["default"] == "5s"
    assert definitions["LimitsSection"]["properties"]["head_bytes"]["default"] == "60KiB"
    assert definitions["LimitsSection"]["properties"]["body_rate"]["default"] == 240


def test_null_is_no_value():
    assert '"null"' not in str(FORM.schema).replace("'", '"')


def test_keys_of_a_union_are_those_of_the_scheme_that_is_named():
    document = {"services": {"a": {"auth": {"scheme": "query"}}}}
    assert FORM.known_keys(("services", "a", "auth"), document)[-3:] == ["scheme", "name", "secret"]
    assert FORM.words(("services", "a", "auth"), {}) == sorted(SCHEMES)


def test_every_limit_of_the_core_is_a_key():
    definitions = FORM.schema["$defs"]
    for section, noun in (("LimitsSection", Limits), ("PoolSection", PoolLimits), ("TimeoutsSection", Timeouts)):
        assert list(definitions[section]["properties"]) == list(noun.__dataclass_fields__)


def test_every_key_is_described():
    sections = [FORM.schema, *FORM.schema["$defs"].values()]
    bare = [
        key
        for section in sections
        for key, item in section["properties"].items()
        if not FORM.resolve(item).get("description")
    ]
    assert not bare
    assert set(FORM.schema["properties"]) == set(Document.model_fields)
