"""`limits` of a service, and `store`: what they read, and what contradicts itself."""

import re

import pytest

from proxyd.core.limiting import Cost, Limit, Mode, OnLoss, Period
from tests.config.conftest import LISTENERS


def one(*limits):
    lines = "".join(f"      - {limit}\n" for limit in limits)
    return f"{LISTENERS}services:\n  one:\n    hosts: [one.example]\n    limits:\n{lines}"


def limits_of(settings):
    return next(service.limits for service in settings.services if service.name == "one")


AS_WRITTEN = """\
store: {url: "sqlite:state.db"}
services:
  one:
    hosts: [one.example]
    limits:
      - {name: burst,  scope: service, rate: 10/s, burst: 10, mode: queue, max_wait: 30s}
      - {name: caller, scope: [caller, service], rate: 5/s, mode: reject}
      - {name: month,  scope: service, quota: 1000/month, time_zone: UTC, warn: [80%, 95%], mode: reject}
    cache: {enabled: true, stale_if_error: 10m}
"""


def test_the_form_that_is_documented_is_read(settings_of):
    settings = settings_of(LISTENERS + AS_WRITTEN)
    assert limits_of(settings) == (
        Limit("burst", ("service",), rate=10.0, burst=10, mode=Mode.QUEUE, max_wait=30.0),
        Limit("caller", ("caller", "service"), rate=5.0, burst=5),
        Limit("month", ("service",), quota=1000, period=Period.MONTH, warn=(0.8, 0.95)),
    )
    assert settings.store.url == "sqlite:state.db"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate: 300/m", Limit("a", rate=5.0, burst=5)),
        ("rate: 3600/h", Limit("a", rate=1.0, burst=1)),
        ("rate: 0.5/s", Limit("a", rate=0.5, burst=1)),
        ("rate: 10/s, mode: pace", Limit("a", rate=10.0, burst=1, mode=Mode.PACE)),
        ("window: 1000/1h", Limit("a", window=1000, window_seconds=3600.0)),
        ("window: 10/100ms", Limit("a", window=10, window_seconds=0.1)),
        ("quota: 60/hour, stop: soft", Limit("a", quota=60, period=Period.HOUR, is_soft=True)),
        (
            "quota: 5/month, begins: 15, time_zone: America/New_York",
            Limit("a", quota=5, begins=15, time_zone="America/New_York"),
        ),
        ("concurrency: 4, scope: [caller]", Limit("a", ("caller",), concurrency=4)),
        (
            "rate: 1/s, scope: [cidr, route, header:X-Team]",
            Limit("a", ("cidr", "route", "header:x-team"), rate=1.0),
        ),
        ("window: 1/1s, on_store_loss: closed", Limit("a", window=1, window_seconds=1.0, on_loss=OnLoss.CLOSED)),
        (
            "rate: 1/s, costs: [{methods: [POST], path: /v2, tokens: 5, per_bytes: 1KiB}, {tokens: 0}]",
            Limit("a", rate=1.0, costs=(Cost(("POST",), "/v2", 5, 1024), Cost(tokens=0))),
        ),
    ],
)
def test_every_kind_is_read(settings_of, text, expected):
    assert limits_of(settings_of(one(f"{{name: a, {text}}}"))) == (expected,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rate: 0/s", "a limit of zero lets nothing through"),
        ("window: 0/1h", "a limit of zero lets nothing through"),
        ("quota: 0/month", "a limit of zero lets nothing through"),
        ("concurrency: 0", "1"),
        ("rate: fast", "a rate such as 10/s"),
        ("rate: 10", "a rate such as 10/s"),
        ("rate: -1/s", "a rate such as 10/s"),
        ("window: 10/1ms", "a window of 100ms to 31d"),
        ("window: 10/400d", "a window of 100ms to 31d"),
        ("quota: 10/week", "a quota such as 1000/month"),
        ("rate: 1/s, scope: [user]", "service, caller, route, cidr or header:NAME"),
        ("rate: 1/s, scope: ['header:a b']", "service, caller, route, cidr or header:NAME"),
        ("quota: 1/day, time_zone: Mars/Olympus", "not a time zone of this machine"),
        ("rate: 1/s, quota: 1/day", "exactly one of rate, window, quota and concurrency"),
        ("mode: queue", "exactly one of rate, window, quota and concurrency"),
        ("window: 1/1s, burst: 5", "burst: it has no effect"),
        ("rate: 1/s, begins: 5", "begins: it has no effect"),
        ("rate: 1/s, time_zone: UTC", "time_zone: it has no effect"),
        ("rate: 1/s, warn: [80%]", "warn: it has no effect"),
        ("window: 1/1s, mode: pace", "only a rate can be paced"),
        ("rate: 1/s, max_wait: 5s", "nothing waits in mode reject"),
        ("rate: 1/s, mode: wait", "reject"),
        ("rate: 1/s, speed: 5", "speed"),
        ("quota: 1/month, begins: 31", "1 to 28"),
        ("quota: 1/month, warn: [0%]", "1"),
        ("rate: 1/s, on_store_loss: shrug", "local"),
    ],
)
def test_a_mistake_is_told_with_its_line(problems_of, text, problem):
    found = problems_of(one(f"{{name: a, {text}}}"))
    assert len(found) == 1, found
    assert found[0].startswith("6:")
    assert problem in found[0]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("10/1s", "1000/1h", None),
        ("10/1s", "10/1h", "contradicts the window on line 6"),
        ("1000/1h", "1000/1s", "contradicts the window on line 6"),
        ("10/1s", "36000/1h", "the longer one can never be reached"),
        ("36000/1h", "10/1s", "the longer one can never be reached"),
        ("10/1s", "35999/1h", None),
    ],
)
def test_windows_that_contradict_each_other_are_told(settings_of, problems_of, first, second, problem):
    text = one(f"{{name: a, window: {first}}}", f"{{name: b, window: {second}}}")
    if problem is None:
        assert len(limits_of(settings_of(text))) == 2
    else:
        (found,) = problems_of(text)
        assert found.startswith("7:")
        assert problem in found


def test_windows_of_different_keys_have_nothing_to_do_with_each_other(settings_of):
    text = one("{name: a, window: 10/1s}", "{name: b, window: 5/1h, scope: [caller]}")
    assert len(limits_of(settings_of(text))) == 2


def test_a_name_stands_once(problems_of):
    (found,) = problems_of(one("{name: a, rate: 1/s}", "{name: a, window: 1/1s}"))
    assert re.match(r"7:.*another limit of this service has the name already", found)


def test_all_mistakes_are_told_at_once(problems_of):
    assert len(problems_of(one("{name: a, rate: 0/s}", "{name: b, quota: 1/week}", "{name: c}"))) == 3


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:6379/0", "redis://me@cache.example/3", "rediss://cache.example", "unix:///run/redis.sock"],
)
def test_every_form_of_a_store_is_read_with_its_line(settings_of, url):
    store = settings_of(f"{LISTENERS}store:\n  url: {url}\n").store
    assert (store.url, store.line) == (url, 3)


@pytest.mark.parametrize("url", ["redis://me:secret@cache.example", "http://cache.example", "sqlite:", "redis://a:b"])
def test_a_store_that_cannot_be_is_told_without_the_secret(problems_of, url):
    (found,) = problems_of(f"{LISTENERS}store:\n  url: '{url}'\n")
    assert found.startswith("3:")
    assert "secret@" not in found
