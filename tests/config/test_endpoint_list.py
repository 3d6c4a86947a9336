import os

import pytest

from proxyd.config.endpoint_list import MAX_BYTES, load_endpoints
from proxyd.core.service import Endpoint
from proxyd.reading.problems import ConfigError


def load(tmp_path, text):
    path = tmp_path / "list"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_endpoints(path)


@pytest.mark.parametrize(
    "text",
    [
        "- 192.0.2.1:443\n- {address: 'b.example:8443', weight: 3, priority: 1}\n",
        '["192.0.2.1:443",\n\t{"address": "b.example:8443", "weight": 3, "priority": 1}]',
    ],
)
def test_items_are_those_of_the_configuration_in_yaml_or_json(tmp_path, text):
    assert load(tmp_path, text) == (Endpoint("192.0.2.1", 443), Endpoint("b.example", 8443, 3, 1))


def test_a_list_may_be_empty_if_it_says_so(tmp_path):
    assert load(tmp_path, "[]") == ()


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", ":1:1", "a list without endpoints is written []"),
        ("a: 1", ":1:1", "a map stands here; expected a list of endpoints"),
        ("- 192.0.2.1:443\n- 192.0.2.1\n", ":2:3", "a port is missing"),
        ("- 192.0.2.1:443\n- 192.0.2.1:443\n", ":2:3", "named twice"),
        ("- {weight: 1}", ":1:3", "the address is missing"),
        ("- {address: 192.0.2.1:1, wieght: 2}", ":1:26", "did you mean 'weight'?"),
        ("- {address: 192.0.2.1:1, weight: 0}", ":1:34", "a whole number from 1 to 1000"),
        ("- {address: 192.0.2.1:1, priority: true}", ":1:36", "a whole number from 0 to 15"),
        ("- 17", ":1:3", "a number stands here"),
        ("[", ":2:1", "not YAML"),
        (b"- \xff", ":1:1", "not UTF-8"),
        ("[" + "'192.0.2.1:1'," * 1025 + "]", ":1:14338", "more than 1024 endpoints"),
        ("#" * (MAX_BYTES + 1), ":1:1", "more than 1 MiB"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path, text, place, words):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)
    assert place in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "- nonsense\n- {address: 1}\n")
    assert len(caught.value.problems) == 2


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigError, match="no regular file"):
            load_endpoints(path)
