# ruff: noqa: E501 - a row of a table is one printed line
"""Mistakes that take two values to see."""

import pytest

from tests.config.conftest import LISTENERS

LISTENER = "mode: forward, address"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            f"listeners:\n- {{name: a, {LISTENER}: 127.0.0.1:1}}\n- {{name: a, {LISTENER}: 127.0.0.1:2}}\n",
            "3:10: listeners[1].name: another listener has this name, on line 2",
        ),
        (
            f"listeners:\n- {{name: a, {LISTENER}: 127.0.0.1:1}}\n- {{name: b, {LISTENER}: localhost:1}}\n",
            "3:37: listeners[1].address: the address is taken by the listener on line 2",
        ),
        (
            f"listeners:\n- {{name: a, {LISTENER}: 127.0.0.1:1}}\n- {{name: b, {LISTENER}: 0.0.0.0:1}}\n",
            "3:37: listeners[1].address: the address is taken by the listener on line 2",
        ),
        (
            f"admin: {{http: 127.0.0.1:1}}\nlisteners:\n- {{name: a, {LISTENER}: 127.0.0.1:1}}\n",
            "3:37: listeners[0].address: the address is taken by admin.http",
        ),
        (
            "listeners:\n- name: a\n  mode: forward\n  address: 127.0.0.1:1\n  users:\n"
            "  - {name: u, secret: s}\n  - {name: u, secret: s}\nsecrets: {s: {env: S}}\n",
            "7:12: listeners[0].users[1].name: another user of this listener has this name",
        ),
        (
            "listeners:\n- name: a\n  mode: forward\n  address: unix:a.sock\n  proxy_protocol: {from: [10.0.0.0/8]}\n",
            "5:3: listeners[0].proxy_protocol: proxy_protocol is for TCP: the peers of a Unix socket have no address that "
            "`from` could list",
        ),
        (
            f"listeners:\n- {{name: a, {LISTENER}: 127.0.0.1:1, proxy_protocol: {{from: [10.0.0.1/8]}}}}\n",
            "2:74: listeners[0].proxy_protocol.from[0]: the address has bits set beyond its prefix length; expected a range "
            "such as 10.0.0.0/8, or one address; did you mean '10.0.0.0/8'?",
        ),
    ],
)
def test_listeners_share_nothing(problems_of, text, line):
    assert problems_of(text) == [line]


@pytest.mark.parametrize(
    ("listeners", "line"),
    [
        (
            "{name: a, mode: forward}",
            "1:13: listeners[0].address: the key is missing; expected an address such as 127.0.0.1:3128",
        ),
        ("{name: a, mode: forward, address: unix:a, open: true}", "1:55: listeners[0].open: open is for mode gateway"),
        (
            "{name: a, mode: forward, address: unix:a, origins: [http://a]}",
            "1:55: listeners[0].origins: origins is for mode gateway",
        ),
        (
            "{name: a, mode: gateway, unknown_hosts: deny}",
            "1:38: listeners[0].unknown_hosts: unknown_hosts is for mode forward: it serves no others",
        ),
        (
            "{name: a, mode: gateway}, {name: b, mode: gateway}",
            "1:39: listeners[1].address: the socket is taken by the listener on line 1",
        ),
        ("{name: a, mode: gateway, address: unix:admin.sock}", "1:47: listeners[0].address: this is the admin socket"),
        (
            f"{{name: a, mode: gateway, address: unix:/{'x' * 107}}}",
            "1:47: listeners[0].address: the path of a Unix socket has at most 107 bytes",
        ),
    ],
)
def test_each_mode_has_its_own_keys_and_each_socket_one_listener(problems_of, listeners, line):
    assert problems_of(f"listeners: [{listeners}]") == [line]


def test_sockets_stand_in_the_runtime_folder(settings_of):
    text = "listeners: [{name: a, mode: gateway}, {name: b, mode: forward, address: unix:b}, {name: c, mode: gateway, address: unix:/c}]"
    found = [listener.address for listener in settings_of(text).listeners]
    assert found == ["unix:/run/proxyd/gateway.sock", "unix:/run/proxyd/b", "unix:/c"]


def test_ports_that_the_kernel_chooses_and_other_families_do_not_clash(settings_of):
    text = "listeners:\n" + "".join(
        f"- {{name: l{n}, {LISTENER}: '{address}'}}\n"
        for n, address in enumerate(("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:1", "[::1]:1", "127.0.0.2:1"))
    )
    assert len(settings_of(text).listeners) == 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("secrets: {a: {}}", "2:11: secrets.a: none is given; expected exactly one of env, file, command, vault and from"),
        ("secrets: {a: {env: A, file: f}}", "2:11: secrets.a: env and file are given; expected exactly one of env, file, command, vault and from"),
            ("vault: {key_file: a, env: B}", "2:1: vault: key_file and env are given; expected one place for the key"),
        ("secrets: {a: {env: A, ttl: 5s}}", "2:23: secrets.a.ttl: ttl is for commands; a secret from env has none"),
        ("egress: {ports: ['*', 80]}", "2:17: egress.ports: '*' is every port; write it alone, or list ports without it"),
        ("egress: {allow: [169.254.169.254]}", "2:18: egress.allow[0]: link-local addresses are never dialled: metadata services hand out credentials there"),
        ("limits: {uri_bytes: 1MiB}", "2:21: limits.uri_bytes: more than limits.head_bytes; the smaller of the two always wins"),
        ("limits: {connections: 10, connections_per_caller: 20}", "2:51: limits.connections_per_caller: more than limits.connections; the smaller of the two always wins"),
        ("limits: {http2: {stream_window: 2MiB}}", "2:33: limits.http2.stream_window: stream_window (2MiB) is more than connection_window (1MiB), which all streams share"),
        ("limits: {http2: {connection_window: 128KiB}}", "2:37: limits.http2.connection_window: stream_window (256KiB) is more than connection_window (128KiB), which all streams share"),
        ("limits: {http2: {streams: 0}}", "2:27: limits.http2.streams: out of range; expected a whole number from 1 to 10000"),
        (f"admin: {{socket: /{'x' * 107}}}", "2:17: admin.socket: the path of a Unix socket has at most 107 bytes"),
        ("unknown: {timeouts: {connect: 5s, total: 2s}}", "2:31: unknown.timeouts.connect: longer than total, which would always end first"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(problems_of, text, line):
    assert problems_of(LISTENERS + text + "\n") == [line]


def test_a_total_shorter_than_the_default_of_a_phase_is_no_contradiction(settings_of):
    assert settings_of(LISTENERS + "unknown: {timeouts: {total: 2s}}\n").unknown_timeouts.total == 2.0


SERVICES = (
    LISTENERS.replace("127.0.0.1:3128", "127.0.0.1:3128, users: [{name: ci, secret: s}]")
    + "secrets: {s: {env: S}}\n"
    + "services: {tickets: {hosts: [t.example]}, gitlab: {hosts: [g.example], encoded_slash: true}}\n"
)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("{}", "5:5: access.rules[0]: neither is given; expected exactly one of allow and deny; one rule, one verdict"),
        ("{allow: {uid: 1}, deny: {uid: 2}}", "5:5: access.rules[0]: both are given; expected exactly one of allow and deny; one rule, one verdict"),
        ("{allow: {}}", "5:13: access.rules[0].allow: the rule has no condition; expected at least one of services, hosts, methods, paths, uid, gid, user, cidr"),
        ("{allow: {services: tickts}}", "5:24: access.rules[0].allow.services: no service of this name stands under services; did you mean 'tickets'?"),
        ("{allow: {services: [tickets, x]}}", "5:34: access.rules[0].allow.services[1]: no service of this name stands under services"),
        ("{allow: {services: tickets, hosts: '*'}}", "5:33: access.rules[0].allow.hosts: a rule judges services or hosts that are no service, never both; write two rules"),
        ("{allow: {user: cii}}", "5:20: access.rules[0].allow.user: no listener has a user of this name; did you mean 'ci'?"),
        ("{allow: {services: [tickets, gitlab], paths: /a%2fb}}", "5:50: access.rules[0].allow.paths: %2f in a path is for rules on services with encoded_slash: true"),
        ("{allow: {services: tickets, uid: 1, uids: 2}}", "5:41: access.rules[0].allow.uids: unknown key 'uids'; expected one of services, hosts, methods, paths, uid, gid, user, cidr; did you mean 'uid'?"),
        ("{deny: {services: []}}", "5:23: access.rules[0].deny.services: the list is empty; give it an item or leave the key out"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_meant_are_refused(problems_of, rule, line):
    assert problems_of(f"{SERVICES}access: {{rules:\n  [ {rule}]}}\n") == [line]


def test_rules_take_single_values_lists_and_plurals(settings_of):
    rules = (
        "{allow: {services: '*', uid: 1, gid: [2, 3], user: ci, cidr: 10.0.0.0/8, methods: GET, paths: /}}",
        "{allow: {uids: [1], gids: 2, users: [ci], cidrs: ['::1']}}",
        "{allow: {services: gitlab, paths: /a%2Fb}}",
    )
    access = settings_of(f"{SERVICES}access: {{rules: [{', '.join(rules)}]}}\n").access
    first, second, third = access.rules
    assert (first.services, first.uids, first.gids, first.users) == (("*",), (1,), (2, 3), ("ci",))
    assert (first.cidrs, first.methods, first.paths) == (("10.0.0.0/8",), ("GET",), ("/",))
    assert (second.uids, second.gids, second.users, second.cidrs) == ((1,), (2,), ("ci",), ("::1/128",))
    assert third.paths == ("/a%2Fb",)


def test_rules_on_unknown_hosts_may_look_into_requests(settings_of):
    text = LISTENERS + "access: {rules: [{deny: {hosts: '*', paths: /x}}, {allow: {hosts: '*', methods: GET}}]}\n"
    assert all(rule.judges_paths for rule in settings_of(text).access.rules)


def test_a_secret_without_a_source_comes_from_the_vault(settings_of):
    text = (
        LISTENERS.replace("}", ", users: [{name: u, secret: proxy/u}]}")
        + "services:\n  a: {hosts: [a.example], auth: {scheme: basic, user_secret: x, secret: tickets/token}}\n"
        "  b: {hosts: [b.example], auth: {scheme: header, headers: [{name: A, secret: y}, {name: B, secret: x}]}}\n"
        "secrets: {tickets/token: {vault: other/name}}\n"
    )
    assert [(source.name, source.vault) for source in settings_of(text).secrets] == [
        ("tickets/token", "other/name"),
        ("proxy/u", "proxy/u"),
        ("x", "x"),
        ("y", "y"),
    ]


def test_one_mistake_hides_no_other(problems_of):
    lines = problems_of(
        "listeners: [{name: a, mode: forwrd, address: 1}]\n"
        "services:\n  a: {hosts: [a.example], tmeouts: {}, auth: {scheme: bearer, secret: tokn}, timeouts: {connect: 2}}\n"
        "  a: {}\n"
        "secrets: {token: {env: T, file: f}}\n"
        "access: {rules: [{allow: {services: [b], methods: get}}]}\n"
        "workers: many\n"
    )
    fields = [line.split(": ")[1] for line in lines]
    assert fields == [
        "listeners[0].mode",
        "listeners[0].address",
        "services.a.tmeouts",
        "services.a.timeouts.connect",
        "services.a",
        "secrets.token",
        "access.rules[0].allow.services[0]",
        "access.rules[0].allow.methods",
        "workers",
    ]
