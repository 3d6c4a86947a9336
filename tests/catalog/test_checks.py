# ruff: noqa: E501
import pytest

from proxyd.auth import registry
from proxyd.catalog import auth
from proxyd.catalog.load import load
from proxyd.reading.problems import ConfigError

GOOD = """\
name: tickets
title: Tickets
category: other
hosts: [api.tickets.example]
fields:
  token: {title: Token}
  region: {title: Region, secret: false, pattern: "[a-z]+"}
schemes:
  - {name: token, fields: [token], apply: [{scheme: bearer, secret: token}]}
base_url: "https://api.tickets.example/{region}"
probe: {path: /me}
documentation: [https://tickets.example/docs]
"""


@pytest.fixture
def problems_of(tmp_path):
    def of(text):
        path = tmp_path / "tickets.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(path)
        return [f"{problem.line}: {problem.field}: {problem.message}" for problem in caught.value.problems]

    return of


def test_a_good_definition_is_loaded(tmp_path):
    path = tmp_path / "tickets.yaml"
    path.write_text(GOOD)
    assert load(path).schemes[0].fields == ["token"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("name: tickets", "name: ticket", "1: name: the file has another name; expected 'tickets'"),
        ("category: other", "category: othr", "3: category: not a known word; expected one of cloud, monitoring, development, other; did you mean 'other'?"),
        ("scheme: bearer, secret: token", "scheme: bearer, secret: tokn", "9: schemes[0].apply[0].secret: no field of this scheme; expected token"),
        ("scheme: bearer", "scheme: barer", "9: schemes[0].apply[0].scheme: not a known word"),
        ("/{region}", "/{regoin}", "10: base_url: {regoin} is no option: fields has none of this name with secret: false"),
        ("fields: [token], apply", "fields: [token, x], apply", "9: schemes[0].fields[1]: fields has no such entry"),
        ("[api.tickets.example]", '["*.herokuapp.com"]', "4: hosts[0]: hosts below herokuapp.com may be any customer's; name the suffix under your_hosts"),
        ("[api.tickets.example]", "[www.tickets.example]", "10: base_url: the host is not among hosts"),
        ("hosts: [api.tickets.example]", "hosts: [{name: api}]", "4: hosts[0]: not a host in parts; expected {name: LABELS, domain: LABELS} and nothing else"),
        ('pattern: "[a-z]+"', 'pattern: "[a-z+"', "7: fields.region.pattern: not a regular expression: unterminated character set at position 0"),
        ("path: /me", "path: me", "11: probe.path: not a path; expected a path such as /v2/user"),
        ("probe: {path: /me}", "probe: {path: /me, says: {401: no}}", "11: probe.says.401: not a known word"),
    ],
)  # fmt: skip
def test_a_mistake_is_placed(problems_of, old, new, line):
    assert old in GOOD
    assert any(found.startswith(line) for found in problems_of(GOOD.replace(old, new))), problems_of(
        GOOD.replace(old, new)
    )


def test_an_option_that_becomes_part_of_a_host_must_have_a_pattern(problems_of):
    text = GOOD.replace(', pattern: "[a-z]+"', "").replace("[api.tickets.example]", '["{region}.tickets.example"]')
    text = text.replace('"https://api.tickets.example/{region}"', '"https://{region}.tickets.example"')
    assert problems_of(text) == [
        "7: fields.region: the option becomes part of a host; a pattern must say what it may be"
    ]


def test_a_field_that_nothing_names_is_a_mistake(problems_of):
    assert problems_of(GOOD.replace("/{region}", "")) == ["7: fields.region: no scheme and no host names it"]


def test_a_secret_in_braces_would_be_written_in_clear(problems_of):
    text = GOOD.replace(
        "scheme: bearer, secret: token", "scheme: header, name: x-key, prefix: '{token}', secret: token"
    )
    assert problems_of(text) == [
        "9: schemes[0].apply: {token} is no option: fields has none of this name with secret: false"
    ]


def test_the_schemes_that_sections_name_are_those_that_workers_know():
    assert set(auth.SCHEMES) == set(registry.SCHEMES)
    assert set(registry.SCHEMES) >= auth.SIGNING
