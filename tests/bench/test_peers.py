import json

import pytest
import yaml

from bench.peers.base import UnsupportedError
from bench.peers.table import PEERS


@pytest.fixture
def make(tmp_path, target, tools):
    def make(name):
        return PEERS[name](tmp_path / name, target, tools)

    return make


PROXIES = [name for name in PEERS if name != "direct"]
ON_DISK = [name for name in PROXIES if name not in {"proxyd", "haproxy", "haproxy-splice", "squid"}]


@pytest.mark.parametrize("name", ON_DISK)
def test_no_secret_stands_in_a_command_line(name, make, target):
    peer = make(name)
    assert not any(target.key in word or target.token in word for word in peer.command())


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_adds_the_key_itself(name, make, target):
    peer = make(name)
    peer.write_config()
    written = "".join(path.read_text() for path in peer.folder.iterdir() if path.is_file())
    assert target.key in written or target.key in peer.environment().values()
    assert "X-Api-Key" in written
    assert peer.client_key is None


def test_without_a_proxy_the_client_sends_the_key(make, target):
    assert make("direct").client_key == target.key


@pytest.mark.parametrize("name", ["envoy", "squid", "proxyd"])
def test_the_access_log_is_on(name, make):
    peer = make(name)
    peer.write_config()
    written = "".join(path.read_text() for path in peer.folder.iterdir() if path.is_file())
    assert str(peer.access_log) in written


def test_envoy_has_one_worker_and_both_clusters(make):
    peer = make("envoy")
    peer.write_config()
    clusters = json.loads((peer.folder / "envoy.json").read_text())["static_resources"]["clusters"]
    assert [cluster["name"] for cluster in clusters] == ["origin", "bulk", "calls"]
    assert peer.command()[-5:-3] == ["--concurrency", "1"]


def test_proxyd_has_the_documented_shape(make):
    peer = make("proxyd")
    document = yaml.safe_load(peer.config())
    assert list(document) == [
        "listeners", "admin", "workers", "tls", "egress", "services", "secrets", "access", "telemetry"
    ]  # fmt: skip
    assert document["services"]["plain"]["hosts"] == ["127.0.0.1:9000"]
    assert document["services"]["tickets"]["endpoints"] == ["127.0.0.1:8443"]
    assert document["access"]["default"] == "deny"


def test_proxyd_gets_secrets_from_its_environment_only(make, target):
    peer = make("proxyd")
    assert target.key not in peer.config()
    assert peer.environment()["PLAIN_KEY"] == target.key


def test_the_gigabyte_has_an_address_that_belongs_to_no_service(make, target):
    services = yaml.safe_load(make("proxyd").config())["services"].values()
    used = {place for service in services for place in [*service["hosts"], *service.get("endpoints", [])]}
    assert target.bulk_authority not in used
    assert not any(place.startswith(target.bulk_authority.split(":")[0]) for place in used)


@pytest.mark.parametrize(("name", "option"), [("haproxy", "splice-auto"), ("haproxy-splice", "splice-response")])
def test_haproxy_splices_as_its_name_says(name, option, make):
    assert f"option {option}\n" in make(name).config()


def test_gateways_are_asked_in_the_clear_but_for_mitmproxy(make):
    schemes = {
        name: make(name).gateway_route().url.split(":")[0] for name in ("proxyd", "envoy", "mitmproxy", "direct")
    }
    assert schemes == {"proxyd": "http", "envoy": "http", "mitmproxy": "https", "direct": "http"}


def test_calls_go_by_http2_to_the_origin(make):
    proxyd, envoy = make("proxyd"), make("envoy")
    assert yaml.safe_load(proxyd.config())["services"]["calls"]["protocol"] == "h2"
    clusters = {cluster["name"]: cluster for cluster in envoy.config()["static_resources"]["clusters"]}
    (options,) = clusters["calls"]["typed_extension_protocol_options"].values()
    assert options["explicit_http_config"] == {"http2_protocol_options": {}}
    with pytest.raises(UnsupportedError):
        make("mitmproxy").gateway_route(call=True)


def test_envoy_takes_http2_alone_at_the_gateway(make):
    forward, gateway = make("envoy").config()["static_resources"]["listeners"]
    managers = [each["filter_chains"][0]["filters"][0]["typed_config"] for each in (forward, gateway)]
    assert [manager.get("codec_type") for manager in managers] == [None, "HTTP2"]
