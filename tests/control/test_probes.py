import pytest

from proxyd.control.probes import probes
from proxyd.core.catalogue import KnownField, KnownService, Probe
from proxyd.core.service import Auth, AuthPart, BaseUrl, HostPattern, Service


class Control:
    def __init__(self, base, known=()):
        service = Service(
            "acme", (HostPattern(base.host),), base, auths=(Auth("bearer", (AuthPart("", "acme/token"),)),)
        )
        self.snapshot = type("Snapshot", (), {"services": (service,)})
        self.settings = type("Settings", (), {"known": tuple(known)})
        self.secrets = {"acme/token": type("State", (), {"why": "it is no key"})}


def known(path, **changes):
    field = KnownField("token", "Token", "https://acme.example/keys", "acme/token")
    return KnownService("acme", "acme", "Acme", Probe("GET", path, **changes), fields=(field,))


@pytest.mark.parametrize(
    ("base", "probe", "url", "gateway_path"),
    [
        (BaseUrl("https", "a.example", 443), known("/me"), "https://a.example/me", "/me"),
        (BaseUrl("https", "a.example", 443, "/v1"), known("/v1/me"), "https://a.example/v1/me", "/me"),
        (BaseUrl("https", "a.example", 443, "/api/v3"), known("/me"), "https://a.example/api/v3/me", "/me"),
        (BaseUrl("http", "a.example", 8080), known("/me"), "http://a.example:8080/me", "/me"),
        (BaseUrl("https", "::1", 443), known("/me"), "https://[::1]/me", "/me"),
        (BaseUrl("https", "a.example", 443, "/v1"), known("/me", host="b.example"), "https://b.example/me", None),
    ],
)
def test_the_probe_goes_to_the_services_place(base, probe, url, gateway_path):
    (entry,) = probes(Control(base, [probe]))
    assert (entry["url"], entry["gateway_path"]) == (url, gateway_path)
    assert entry["fields"] == [
        {
            "name": "token",
            "title": "Token",
            "where": "https://acme.example/keys",
            "secret": "acme/token",
            "why": "it is no key",
        }
    ]


def test_a_service_without_a_definition_is_asked_for_its_base():
    (entry,) = probes(Control(BaseUrl("https", "a.example", 443, "/v1")))
    assert (entry["method"], entry["url"], entry["definition"], entry["expect"]) == (
        "GET",
        "https://a.example/v1/",
        None,
        [],
    )
    assert entry["secrets"] == ["acme/token"]


def test_before_the_first_configuration_there_is_nothing():
    control = Control(BaseUrl("https", "a.example", 443))
    control.snapshot = None
    assert probes(control) == []
