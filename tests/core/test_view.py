import pytest

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.limits import PoolLimits
from proxyd.core.route import Route
from proxyd.core.service import BaseUrl, HostPattern, Service, Timeouts
from proxyd.core.snapshot import Egress, Snapshot
from proxyd.core.view import View, upstream_of


class Yes:
    judges_paths = judges_methods = False
    always = True


def service(name, *hosts, base=("https", "api.example", 443)):
    return Service(name, hosts, BaseUrl(*base))


def view(*services, ports=(80, 443)):
    routes = [(item, Route(item, Timeouts(), PoolLimits(), Yes())) for item in services]
    unknown = Route(None, Timeouts(), PoolLimits(), Yes())
    return View(Snapshot(1, "p", 1000, egress=Egress(ports=ports)), routes, unknown, None)


EXACT = service("exact", HostPattern("api.example"))
WILD = service("wild", HostPattern("example", wildcard=True))
PORT = service("port", HostPattern("db.example", 8443))


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("api.example", 443, "exact"),
        ("api.example", 80, "exact"),
        ("other.example", 443, "wild"),
        ("a.b.example", 80, "wild"),
        ("example", 443, ""),
        ("notexample", 443, ""),
        ("db.example", 8443, "port"),
        ("elsewhere.test", 9999, ""),
    ],
)
def test_an_exact_name_goes_before_a_wildcard_and_the_rest_is_unknown(host, port, name):
    assert view(WILD, EXACT, PORT).find(host, port).name == name


def test_the_first_wildcard_that_fits_decides():
    every = service("every", HostPattern("", wildcard=True))
    assert view(WILD, every).find("a.example", 443).name == "wild"
    assert view(every, WILD).find("a.example", 443).name == "every"


@pytest.mark.parametrize(("host", "port"), [("api.example", 8443), ("x.example", 22)])
def test_a_pattern_without_a_port_claims_its_name_on_every_port(host, port):
    with pytest.raises(ProxyError, match="belongs to no service") as caught:
        view(EXACT, WILD).find(host, port)
    assert caught.value.status == 403


def test_a_pattern_with_a_port_leaves_the_hosts_other_ports_unknown():
    assert view(PORT).find("db.example", 443).name == ""


@pytest.mark.parametrize(
    ("host", "named"), [("api.example", True), ("db.example", True), ("x.example", True), ("x.test", False)]
)
def test_a_name_is_a_services_on_whatever_port(host, named):
    assert view(EXACT, WILD, PORT).names_service(host) is named


@pytest.mark.parametrize(
    ("ports", "port", "refused"), [((80, 443), 443, False), ((80, 443), 25, True), ((), 25, False)]
)
def test_ports_of_unknown_hosts_are_those_listed(ports, port, refused):
    error = view(ports=ports).check_port(Authority("x.example", port, False))
    assert (error is not None and error.status == 403) is refused


@pytest.mark.parametrize(
    ("hosts", "base", "asked", "expected"),
    [
        ([HostPattern("api.example")], ("https", "api.example", 443), ("api.example", 80), (b"https", 443)),
        ([HostPattern("api.example")], ("https", "api.example", 8443), ("api.example", 443), (b"https", 8443)),
        ([HostPattern("example", wildcard=True)], ("https", "api.example", 8443), ("a.example", 80), (b"https", 443)),
        ([HostPattern("example", wildcard=True)], ("http", "api.example", 8080), ("a.example", 443), (b"http", 80)),
        ([HostPattern("api.example", 80)], ("https", "api.example", 443), ("api.example", 80), (b"https", 80)),
        ([HostPattern("api.example", 9000)], ("https", "api.example", 443), ("api.example", 9000), (b"https", 9000)),
    ],
)
def test_a_web_port_stands_for_the_base_urls_unless_a_pattern_names_it(hosts, base, asked, expected):
    scheme, authority = upstream_of(service("s", *hosts, base=base), Authority(*asked, False))
    assert (scheme, authority.port) == expected
    assert authority.host == asked[0]
