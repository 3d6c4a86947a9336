import pytest

from tests.config.conftest import LISTENERS

TAIL = "secrets: {s: {env: S}}\n"


def services(*lines):
    return LISTENERS + "services:\n" + "".join(f"  {line}\n" for line in lines) + TAIL


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            ["a: {hosts: [x.example]}", "b: {hosts: [y.example, X.example.]}"],
            "4:26: services.b.hosts[1]: the host is claimed by the service a already, on line 3",
        ),
        (
            ["a: {hosts: [x.example]}", "b: {hosts: ['x.example:443']}"],
            "4:15: services.b.hosts[0]: the host is claimed by the service a already, on line 3",
        ),
        (
            ["a: {hosts: [x.example, '*.x.example', '*.x.example']}"],
            "3:41: services.a.hosts[2]: the host is named twice",
        ),
        (
            ["a: {hosts: ['*.x.example']}"],
            "3:3: services.a.base_url: the key is missing: with a wildcard as the first host it cannot be derived",
        ),
        (
            ["a: {hosts: [x.example], base_url: 'https://y.example'}"],
            "3:37: services.a.base_url: the host is not among this service's hosts, or there with another port; "
            "a credential goes only to its service's hosts",
        ),
        (
            ["a: {hosts: [x.example], base_url: 'http://x.example', auth: {scheme: bearer, secret: s}}"],
            "3:37: services.a.base_url: the credential would go over plain http, readable on the way; "
            "expected https, or insecure: true beside it",
        ),
        (
            ["a: {hosts: [x.example], protocol: h2, endpoints: ['127.0.0.1:1'], health: {path: /up}}"],
            "3:84: services.a.health.path: checks with a path ask by HTTP/1.1, which an upstream of h2 alone may not "
            "answer; expected no path: a connection, or protocol: auto",
        ),
        (
            ["a: {hosts: [x.example], endpoints: ['127.0.0.1:1', '127.0.0.1:1']}"],
            "3:54: services.a.endpoints[1]: the endpoint is named twice",
        ),
        (
            ["a: {hosts: [x.example], adaptive_concurrency: {min_limit: 20, max_limit: 10}}"],
            "3:76: services.a.adaptive_concurrency.max_limit: min_limit 20 is above max_limit 10; "
            "expected the larger number as max_limit",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: sigv4, secrets: {access_key_id: s}}}"],
            "3:33: services.a.auth: the scheme sigv4 needs the secret secret_access_key",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: hmac, secrets: {key: s}, message: $key, headers: {X-S: x}}}"],
            "3:33: services.a.auth: the scheme hmac knows no $key; it knows body, body_md5_base64, "
            "body_sha256_base64, body_sha256_hex, content_type, date, host, iso_date, method, milliseconds, nonce, "
            "path, query, scheme, signature, target, timestamp",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: hmac, secrets: {key: s}, message: 5$, headers: {X-S: x}}}"],
            "3:33: services.a.auth: a dollar sign stands before 'the end'; write $$ for the sign itself",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: basic, secret: s}}"],
            "3:27: services.a.auth: the user is missing; expected exactly one of user and user_secret",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: basic, user: u, user_secret: s, secret: s}}"],
            "3:27: services.a.auth: both user and user_secret are given; expected exactly one of user and user_secret",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: header, secret: s}}"],
            "3:27: services.a.auth.name: the key is missing; expected name and secret, or a list under headers",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: header, name: N, headers: [{name: M, secret: s}]}}"],
            "3:50: services.a.auth.name: headers is given too; move this into its list",
        ),
        (
            ["a: {hosts: [x.example], auth: {scheme: header, headers: [{name: M, secret: s}, {name: m, secret: s}]}}"],
            "3:89: services.a.auth.headers[1].name: the header is named twice",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {first_byte: 3s, total: 2s}}"],
            "3:50: services.a.timeouts.first_byte: longer than total, which would always end first",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {tls: 10s}}"],
            "3:43: services.a.timeouts.tls: longer than connect (5s by default), which includes it and would always "
            "end first",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {connect: 1s, tls: 2s}}"],
            "3:56: services.a.timeouts.tls: longer than connect, which includes it and would always end first",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {head: 3s, per_try: 2s}}"],
            "3:44: services.a.timeouts.head: longer than per_try, which would always end first",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {stream: 3m, total: 2m}}"],
            "3:46: services.a.timeouts.stream: longer than total, which would always end first",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {first_byte: 0s, propagate: X-Left}}"],
            "3:65: services.a.timeouts.propagate: an attempt has no end to tell of; "
            "expected per_try, total or first_byte above 0s",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {propagate: X-Key}, auth: {scheme: header, name: x-key, secret: s}}"],
            "3:49: services.a.timeouts.propagate: this header carries the credential",
        ),
        (
            ["a: {hosts: [x.example], timeouts: {propagate: X-Key}, retry: {idempotency_key: x-key}}"],
            "3:49: services.a.timeouts.propagate: this header carries the idempotency key",
        ),
    ],
)
def test_contradictions_are_refused(problems_of, lines, problem):
    assert problems_of(services(*lines)) == [problem]


@pytest.mark.parametrize(
    "timeouts",
    [
        "{head: 3s, first_byte: 2s}",
        "{tls: 5s}",
        "{tls: 8s, connect: 10s}",
        "{stream: 1h, idle: 10s, per_try: 5s}",
        "{propagate: X-Left, first_byte: 0s, total: 3s}",
    ],
)
def test_timeouts_that_do_not_contradict_each_other_stand(settings_of, timeouts):
    assert settings_of(services(f"a: {{hosts: [x.example], timeouts: {timeouts}}}"))


def test_a_wildcard_beside_an_exact_host_and_other_ports_are_no_conflict(settings_of):
    settings = settings_of(
        services(
            "a: {hosts: [x.example, '*.x.example']}", "b: {hosts: [a.x.example]}", "c: {hosts: ['x.example:8443']}"
        )
    )
    assert [str(service.base.port) for service in settings.services] == ["443", "443", "8443"]


def test_a_base_url_under_a_wildcard_is_among_the_hosts(settings_of):
    (service,) = settings_of(services("a: {hosts: ['*.x.example'], base_url: 'https://eu.x.example/v1'}")).services
    assert service.base.path == "/v1"


def test_a_host_without_a_port_leaves_the_port_to_the_base_url(settings_of):
    (service,) = settings_of(
        services("a: {hosts: [x.example, 'x.example:80'], base_url: 'https://x.example:8443'}")
    ).services
    assert service.base.port == 8443


def test_a_host_with_another_port_than_the_base_url_is_refused(problems_of):
    (problem,) = problems_of(services("a: {hosts: ['x.example:1'], base_url: 'https://x.example:2'}"))
    assert "with another port" in problem


def test_plain_http_without_a_credential_needs_no_word(settings_of):
    (service,) = settings_of(services("a: {hosts: [x.example], base_url: 'http://x.example'}")).services
    assert service.base.port == 80


@pytest.mark.parametrize(
    ("endpoints", "problem"),
    [
        ("'unix:/run/x', 'unix:/run/y'", False),
        ("'unix:/run/x', '192.0.2.1:1'", True),
        ("'192.0.2.1:1'", True),
    ],
)
def test_plain_http_to_unix_sockets_alone_carries_a_credential(problems_of, endpoints, problem):
    line = f"a: {{hosts: [x.example], base_url: 'http://x.example', endpoints: [{endpoints}], "
    problems = problems_of(services(line + "auth: {scheme: bearer, secret: s}, encoded_slash: one mistake}"))
    assert any("plain http" in one for one in problems) is problem
