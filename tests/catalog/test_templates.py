import pytest

from proxyd.catalog.templates import composed, fill, filled_in, varied
from proxyd.reading.problems import Mistake


def test_options_are_filled_in_and_others_stay():
    assert fill("https://{region}.example/{x}", {"region": "eu"}) == "https://eu.example/{x}"
    assert filled_in({"a": ["{b}", 1], "c": {"d": "{b}"}}, {"b": "z"}) == {"a": ["z", 1], "c": {"d": "z"}}


def test_a_list_makes_one_host_of_each_value():
    assert varied(["a.example", "{r}.b.example"], {"r": ["x", "y"]}) == ["a.example", "x.b.example", "y.b.example"]


def test_a_host_is_composed_of_name_and_domain():
    assert composed({"name": "registry", "domain": "example.org"}) == "registry.example.org"
    for parts in ({"name": "a"}, {"name": "a", "domain": 1}, {"name": "A b", "domain": "example"}, {}):
        with pytest.raises(Mistake):
            composed(parts)
