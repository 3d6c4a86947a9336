import pytest

from proxyd.core.access import ProxyUser
from proxyd.core.limits import Http2Limits, Limits, Overload
from proxyd.core.resilience import AdaptiveConcurrency, Thresholds
from proxyd.core.service import Auth, AuthPart, PriorityClass, Version
from tests.config.conftest import LISTENERS, RUNTIME


@pytest.mark.parametrize(
    ("auth", "compiled"),
    [
        ("{scheme: bearer, secret: a}", Auth("bearer", (AuthPart("authorization", "a"),))),
        ("{scheme: basic, user: u, secret: a}", Auth("basic", (AuthPart("authorization", "a"),), user="u")),
        (
            "{scheme: basic, user_secret: b, secret: a}",
            Auth("basic", (AuthPart("authorization", "a"),), user_secret="b"),
        ),
        ("{scheme: header, name: X-Key, secret: a}", Auth("header", (AuthPart("x-key", "a"),))),
        ("{scheme: header, name: K, secret: a, prefix: 'T '}", Auth("header", (AuthPart("k", "a", "T "),))),
        (
            "{scheme: header, headers: [{name: X, secret: a}, {name: Y, secret: b, prefix: p}], keep: true}",
            Auth("header", (AuthPart("x", "a"), AuthPart("y", "b", "p")), keep=True),
        ),
        ("{scheme: query, name: api_key, secret: a}", Auth("query", (AuthPart("api_key", "a"),))),
    ],
)
def test_schemes(settings_of, auth, compiled):
    text = (
        f"{LISTENERS}services: {{s: {{hosts: [s.example], auth: {auth}}}}}\nsecrets: {{a: {{env: A}}, b: {{env: B}}}}\n"
    )
    assert settings_of(text).services[0].auths == (compiled,)


def test_the_folder_of_published_certificates_is_relative_to_the_runtime_folder(settings_of):
    assert settings_of(LISTENERS).ca_folder == ""
    assert settings_of(LISTENERS + "tls: {publish: shared}\n").ca_folder == str(RUNTIME / "shared")
    assert settings_of(LISTENERS + "tls: {publish: /run/pod}\n").ca_folder == "/run/pod"


def test_the_base_url_defaults_to_https_on_the_first_host(settings_of):
    text = LISTENERS + "services: {a: {hosts: ['h.example:8443', i.example]}, b: {hosts: [j.example]}}\n"
    assert [(s.base.scheme, s.base.host, s.base.port) for s in settings_of(text).services] == [
        ("https", "h.example", 8443),
        ("https", "j.example", 443),
    ]


def test_every_limit_can_be_set(settings_of):
    text = "limits: {head_bytes: 2KiB, uri_bytes: 1024, silence: 100ms, tunnel_idle: 2h, contexts: 9}\n"
    assert settings_of(LISTENERS + text).limits == Limits(
        head_bytes=2048, uri_bytes=1024, silence=0.1, tunnel_idle=7200.0, contexts=9
    )


def test_bounds_of_http2_connections_can_be_set(settings_of):
    text = "limits: {http2: {streams: 250, stream_window: 1MiB, connection_window: 8MiB, resets: 50}}\n"
    bounds = settings_of(LISTENERS + text).limits.http2
    assert bounds == Http2Limits(streams=250, stream_window=2**20, connection_window=2**23, resets=50)
    assert settings_of(LISTENERS).limits.http2 == Http2Limits()


def test_listeners_speak_http2_unless_they_are_told_not_to(settings_of):
    text = "listeners: [{name: a, mode: gateway}, {name: b, mode: forward, address: '127.0.0.1:0', http2: false}]\n"
    assert [listener.http2 for listener in settings_of(text).listeners] == [True, False]


def test_pools_and_timeouts(settings_of):
    text = (
        "services: {a: {hosts: [a.example], pool: {connections: 3, pending: 0, idle: 5s, age: 1m, requests: 7}}}\n"
        "unknown: {timeouts: {connect: 1s, idle: 0s}, pool: {connections: 2}}\ndrain_old: 1m\ndrain_timeout: 0s\n"
    )
    settings = settings_of(LISTENERS + text)
    pool = settings.services[0].pool
    assert (pool.connections, pool.pending, pool.idle, pool.age, pool.requests) == (3, 0, 5.0, 60.0, 7)
    assert (settings.unknown_timeouts.connect, settings.unknown_timeouts.idle) == (1.0, 0.0)
    assert settings.unknown_pool.connections == 2
    assert (settings.drain_old, settings.drain_timeout) == (60.0, 0.0)


def test_users_and_ports(settings_of):
    text = (
        LISTENERS.replace("}", ", users: [{name: ci, secret: s}]}")
        + "secrets: {s: {command: [x], timeout: 1s, ttl: 1h}}\n"
    )
    settings = settings_of(text + "egress: {ports: [8443, 443, 443]}\n")
    assert settings.listeners[0].users == (ProxyUser("ci", "s"),)
    assert settings.egress.ports == (443, 8443)
    assert (settings.secrets[0].command, settings.secrets[0].timeout, settings.secrets[0].ttl) == (("x",), 1.0, 3600.0)


@pytest.mark.parametrize(
    ("keys", "thresholds"),
    [
        ("", Thresholds(1024, 1024, 2048, 256)),
        ("pool: {connections: 3000}", Thresholds(3000, 1024, 4024, 256)),
        ("pool: {pending: 5000}", Thresholds(1024, 5000, 6024, 256)),
        ("pool: {connections: 3000}, breaker: {max_connections: 7}", Thresholds(7, 1024, 1031, 256)),
        ("breaker: {enabled: false, max_requests: 5, max_retries: 1}", Thresholds(1024, 1024, 5, 1)),
    ],
)
def test_thresholds_are_never_below_what_a_pool_may_hold_unless_they_are_given(settings_of, keys, thresholds):
    text = f"{LISTENERS}services: {{s: {{hosts: [s.example], {keys}}}}}\n"
    assert settings_of(text).services[0].resilience.thresholds == thresholds


@pytest.mark.parametrize("version", Version)
def test_the_protocol_of_a_service_is_http_1_unless_it_says_another(settings_of, version):
    services = f"services: {{s: {{hosts: [s.example], protocol: {version.value}}}, t: {{hosts: [t.example]}}}}\n"
    settings = settings_of(LISTENERS + services)
    assert [service.protocol for service in settings.services] == [version, Version.HTTP1]


def test_overload_and_priority_classes(settings_of):
    text = "services: {s: {hosts: [s.example], priority_class: low}}\noverload: {lag: 250ms, after: 2s}\n"
    settings = settings_of(LISTENERS + text)
    assert settings.overload == Overload(lag=0.25, after=2.0)
    assert settings.services[0].priority_class is PriorityClass.LOW
    assert settings_of(LISTENERS).overload == Overload(lag=0.5, after=1.0)


@pytest.mark.parametrize(
    ("keys", "policy"),
    [
        ("", None),
        ("adaptive_concurrency: {enabled: false}", None),
        ("adaptive_concurrency: {}", AdaptiveConcurrency()),
        (
            "adaptive_concurrency: {percentile: 90%, buffer: 10%, min_limit: 5, max_limit: 50, update_interval: 1s, "
            "min_rtt_interval: 30s, min_rtt_requests: 20, jitter: 5%}",
            AdaptiveConcurrency(0.9, 1.0, 5, 50, 30.0, 20, 0.05, 0.1),
        ),
    ],
)
def test_adaptive_concurrency_is_off_unless_it_is_written(settings_of, keys, policy):
    text = f"{LISTENERS}services: {{s: {{hosts: [s.example], {keys}}}}}\n"
    assert settings_of(text).services[0].resilience.adaptive_concurrency == policy
