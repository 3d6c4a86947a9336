# ruff: noqa: E501 - a row of a table is one printed line
"""Mistakes in one value: what is printed for each."""

import pytest

from proxyd.catalog import auth
from tests.config.conftest import LISTENERS

SCHEMES = ", ".join(sorted(auth.SCHEMES))
KEYS = "listeners, admin, workers, tls, egress, services, catalogue, secrets, ages, vault, vaults, access, limits, overload, unknown, telemetry, store, drain_old, drain_timeout, upgrade_drain"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("acess: {}", f"2:1: acess: unknown key 'acess'; expected one of {KEYS}; did you mean 'access'?"),
        ("admin: {sokcet: x}", "2:9: admin.sokcet: unknown key 'sokcet'; expected one of socket, readers, http; did you mean 'socket'?"),
        ("admin: {x: 1}", "2:9: admin.x: unknown key 'x'; expected one of socket, readers, http"),
        ("drain-old: 2s", f"2:1: drain-old: unknown key 'drain-old'; expected one of {KEYS}; did you mean 'drain_old'?"),
        ("admin: 3", "2:8: admin: a number stands here; expected a map"),
        ("services: [a]", "2:11: services: a list stands here; expected a map"),
        ("services: {a: x}", "2:15: services.a: text stands here; expected a map"),
        ("access: {rules: {}}", "2:17: access.rules: a map stands here; expected a list"),
        ("access: {default: dney}", "2:19: access.default: not a known word; expected one of allow, deny; did you mean 'deny'?"),
        ("workers: two", "2:10: workers: text stands here; expected a whole number from 1 to 256, or 'auto'"),
        ("workers: 0", "2:10: workers: out of range; expected a whole number from 1 to 256, or 'auto'"),
        ("workers: 1.5", "2:10: workers: a number stands here; expected a whole number from 1 to 256, or 'auto'"),
        ("workers: true", "2:10: workers: true stands here; expected a whole number from 1 to 256, or 'auto'"),
        ("drain_old: 5", "2:12: drain_old: a duration needs its unit: write 5s; expected a duration such as 250ms, 2s, 5m, 1h or 2d"),
        ("drain_old: 8d", "2:12: drain_old: out of range; expected 0s to 7d"),
        ("limits: {head_bytes: 2MiB}", "2:22: limits.head_bytes: out of range; expected 1KiB to 1MiB"),
        ("secrets:", "2:1: secrets: nothing stands here; leave the key out or give it a value"),
        ("egress: {allow: [~]}", "2:18: egress.allow[0]: nothing stands here; leave the key out or give it a value"),
        ("egress: {ports: []}", "2:17: egress.ports: the list is empty; give it an item or leave the key out"),
        ("<<: {a: 1}", "2:1: <<: merge keys are no part of YAML 1.2; write the keys out"),
        ("secrets: {-x: {env: A}}", "2:11: secrets.-x: not a name; expected up to 128 letters, digits, '.', '_', '-' and '/', a letter or digit first"),
        ("telemetry: {access_log: {}}", "2:13: telemetry.access_log.path: the key is missing: File, relative to the state folder; `-` is standard output."),
    ],
)  # fmt: skip
def test_a_mistake_says_what_was_expected(problems_of, text, line):
    assert problems_of(LISTENERS + text + "\n") == [line]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("{scheme: bearr, secret: s}", f"4:20: services.a.auth.scheme: not a known word; expected one of {SCHEMES}; did you mean 'bearer'?"),
        ("{secret: s}", f"4:5: services.a.auth.scheme: the key is missing; expected one of {SCHEMES}"),
        ("{scheme: [x], secret: s}", f"4:20: services.a.auth.scheme: not a known word; expected one of {SCHEMES}"),
        ("{scheme: bearer, secret: s, keep: yes}", "4:45: services.a.auth.keep: text stands here; expected true or false; did you mean 'true'?"),
        ("{scheme: bearer, secret: s, header: x}", "4:39: services.a.auth.header: unknown key 'header'; expected one of keep, hosts, paths, strip, strip_query, presigned, max_body, scheme, secret"),
        ("{scheme: header, secret: s, name: n, header: x}", "4:48: services.a.auth.header: unknown key 'header'; expected one of keep, hosts, paths, strip, strip_query, presigned, max_body, scheme, name, secret, prefix, headers; did you mean 'headers'?"),
        ("{scheme: bearer}", "4:5: services.a.auth.secret: the key is missing: Name of the secret that holds the token."),
        ("{scheme: header, headers: [{name: Host, secret: s}]}", "4:45: services.a.auth.headers[0].name: this header frames the message or belongs to one hop; it cannot carry a credential"),
        ("bearer", "4:11: services.a.auth: text stands here; expected a map, or a list of maps"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_scheme_is_about_that_scheme(problems_of, section, line):
    text = f"{LISTENERS}services:\n  a: {{hosts: [a.example],\n    auth: {section}}}\nsecrets: {{s: {{env: S}}}}\n"
    assert problems_of(text) == [line]


def test_listeners_are_the_one_section_that_is_needed(problems_of):
    assert problems_of("workers: 1\n") == ["1:1: listeners: the key is missing: Where applications reach the proxy."]
    assert problems_of("listeners: []\n") == [
        "1:12: listeners: the list is empty; give it an item or leave the key out"
    ]


def test_a_file_that_is_no_map_is_refused(problems_of):
    assert problems_of("- a\n") == ["1:1: a list stands here; expected a map"]
    assert problems_of("~\n") == ["1:1: nothing stands here; expected a map"]


def test_a_rule_takes_one_value_for_a_list_and_says_where_it_is_wrong(problems_of):
    text = LISTENERS + "services: {a: {hosts: [a.example]}}\naccess: {rules: [{allow: {services: a, methods: get}}]}\n"
    assert problems_of(text) == [
        "3:49: access.rules[0].allow.methods: methods are case-sensitive; expected a method such as GET; did you mean 'GET'?"
    ]


def test_no_message_shows_a_value(problems_of):
    secret = "s3cr3t-t0ken-value"
    text = (
        f"{LISTENERS}services:\n  a:\n    hosts: [a.example, '{secret}@b.example', ' {secret}']\n"
        f"    base_url: https://u:{secret}@a.example\n    auth: {{scheme: bearer, secret: '{secret}'}}\n"
        f"  b: {{hosts: [b.example], auth: {{scheme: '{secret}', secret: x}}}}\n"
        f"  c: {{hosts: [c.example], auth: {{scheme: header, name: '{secret}:', secret: '{secret}\\n'}}}}\n"
        f"secrets:\n  x: {secret}\n  y: {{env: '${secret}'}}\n  z: {{command: {secret}}}\n  w: {{file: [{secret}]}}\n"
        f"workers: {secret}\ndrain_old: {secret}\ntls: {{extra_roots: {secret}}}\n"
    )
    lines = problems_of(text)
    assert len(lines) >= 13
    assert secret not in "\n".join(lines)
