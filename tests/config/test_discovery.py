import textwrap
from pathlib import Path

import msgpack
import pytest

from proxyd.config.load import load_text
from proxyd.core.discovery import Discovery, Dns, ListFile, Slices, Srv
from proxyd.core.plain import from_plain, to_plain
from proxyd.core.service import Endpoint
from proxyd.core.settings import Settings
from proxyd.reading.problems import ConfigError

FOLDER = Path("/etc/proxyd")


def load(discover, *more):
    lines = [
        "listeners: [{name: apps, mode: forward, address: '127.0.0.1:0'}]",
        "services:",
        "  api:",
        "    hosts: [api.example]",
        *(f"    {line}" for line in more),
        textwrap.indent(discover, "    "),
    ]
    return load_text("\n".join(lines), "p.yaml", FOLDER, Path("/s"), Path("/r"))


@pytest.mark.parametrize(
    ("discover", "finder", "source"),
    [
        ("discover: {dns: {name: Backend.example.}}", Dns("backend.example", 443), "dns backend.example:443"),
        (
            "discover: {dns: {name: backend.example, port: 8443, servers: [192.0.2.53, '[2001:db8::1]:5353']}}",
            Dns("backend.example", 8443, (("192.0.2.53", 53), ("2001:db8::1", 5353))),
            "dns backend.example:8443",
        ),
        ("discover: {srv: {name: _https._tcp.example}}", Srv("_https._tcp.example"), "srv _https._tcp.example"),
        ("discover: {file: list.yaml}", ListFile("/etc/proxyd/list.yaml"), "file /etc/proxyd/list.yaml"),
        (
            "discover: {kubernetes: {service: pay, port: https}}",
            Slices("pay", "", "https"),
            "kubernetes (own namespace)/pay:https",
        ),
        (
            "discover: {kubernetes: {service: pay, namespace: shop, port: 8443, api: 'http://[::1]:8001', "
            "token_file: token, ca_file: /ca.pem}}",
            Slices("pay", "shop", "8443", "http://[::1]:8001", "/etc/proxyd/token", "/ca.pem"),
            "kubernetes shop/pay:8443",
        ),
    ],
)
def test_each_source_is_read(discover, finder, source):
    settings = load(discover)
    assert settings.discoveries == (Discovery("api", finder),)
    assert from_plain(Settings, msgpack.unpackb(msgpack.packb(to_plain(settings)))) == settings
    (service,) = settings.services
    assert (service.source, service.pending, service.endpoints) == (source, True, ())


def test_endpoints_beside_it_are_for_the_beginning_and_health_checks_are_possible():
    settings = load("discover: {file: list}", "endpoints: [192.0.2.1:1]", "health: {interval: 1s}")
    assert settings.services[0].endpoints == (Endpoint("192.0.2.1", 1),)


def test_without_discovery_nothing_of_it_is_said():
    settings = load("")
    assert (settings.discoveries, settings.services[0].source, settings.services[0].pending) == ((), "", False)


@pytest.mark.parametrize(
    ("discover", "message"),
    [
        ("discover: {}", "5:5: services.api.discover: the source is missing; expected exactly one of dns, srv,"),
        (
            "discover: {file: list, dns: {name: a.example}}",
            "5:5: services.api.discover: dns and file are given; expected exactly one of",
        ),
        ("discover: {dns: {nam: a.example}}", "5:22: services.api.discover.dns.nam: "),
        ("discover: {dns: {name: 192.0.2.1}}", "5:28: services.api.discover.dns.name: an IP address is looked up"),
        ("discover: {dns: {name: 'a b'}}", "5:28: services.api.discover.dns.name: not a host name"),
        ("discover: {dns: {name: a.example, port: 0}}", "5:45: services.api.discover.dns.port: out of range"),
        ("discover: {dns: {name: a.example, servers: [dns.example]}}", "servers[0]: not an IP address"),
        ("discover: {srv: {name: _https..example}}", "not the name of SRV records"),
        ("discover: {kubernetes: {service: pay}}", "services.api.discover.kubernetes.port: the key is missing"),
        ("discover: {kubernetes: {service: Pay, port: 1}}", "service: not the name of a Kubernetes object"),
        ("discover: {kubernetes: {service: pay, port: 0}}", "port: not a port"),
        (
            "discover: {kubernetes: {service: pay, port: 1, api: 'http://10.0.0.1'}}",
            "api: the token would go over plain http",
        ),
        ("discover: {kubernetes: {service: pay, port: 1, api: 'https://a@b'}}", "carries no user"),
        ("discover: {kubernetes: {service: pay, port: 1, api: 'https://a/b'}}", "scheme, host and port alone"),
    ],
)
def test_mistakes_are_told_with_their_place(discover, message):
    with pytest.raises(ConfigError) as caught:
        load(discover)
    assert message in str(caught.value)
