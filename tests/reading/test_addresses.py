import pytest

from proxyd.core.service import BaseUrl, Endpoint, HostPattern
from proxyd.reading.addresses import (
    base_url,
    cidr,
    endpoint,
    host_pattern,
    listen_address,
    listener_address,
    rule_host,
    url_path,
    web_origin,
)
from proxyd.reading.problems import Mistake


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("api.x.com", HostPattern("api.x.com")),
        ("API.X.com.", HostPattern("api.x.com")),
        ("*.x.com", HostPattern("x.com", None, True)),
        ("*.x.com:8443", HostPattern("x.com", 8443, True)),
        ("127.0.0.1:9000", HostPattern("127.0.0.1", 9000)),
        ("[::1]:8080", HostPattern("::1", 8080)),
        ("[0:0::1]", HostPattern("::1")),
        ("localhost", HostPattern("localhost")),
    ],
)
def test_host_patterns(text, pattern):
    assert host_pattern(text) == pattern
    assert rule_host(text) == pattern


def test_a_star_is_every_host_in_rules_only():
    assert rule_host("*") == HostPattern("", None, True)
    assert rule_host("*:8443") == HostPattern("", 8443, True)
    with pytest.raises(Mistake, match="a service names its hosts"):
        host_pattern("*")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bücher.example", "did you mean 'xn--bcher-kva.example'?"),
        ("*.straße.de", r"did you mean '\*\.xn--strae-oqa\.de'\?"),
        ("https://api.x.com/v2", "did you mean 'api.x.com'?"),
        ("a.*.com", "whole first label"),
        ("*x.com", "whole first label"),
        ("*.1.2.3.4", "no subdomains"),
        ("::1", "stands in brackets"),
        ("[::1", "not closed"),
        ("[fe80::1%eth0]", "zone"),
        ("x.com:0", "the port"),
        ("x.com:70000", "the port"),
        ("x.com:", "the port"),
        ("u@x.com", "userinfo"),
        ("a b", "not a host name"),
        ("1.2.3", "not an IP address"),
        ("", "empty"),
        (5, "a number stands here"),
    ],
)
def test_a_bad_host_is_refused_with_a_reason(text, message):
    with pytest.raises(Mistake, match=message.replace("?", r"\?").replace(r"\\?", r"\?")):
        host_pattern(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3128", "127.0.0.1:3128"),
        ("localhost:0", "localhost:0"),
        ("[::]:80", "[::]:80"),
        ("[0:0::1]:80", "[::1]:80"),
    ],
)
def test_listen_addresses(text, address):
    assert listen_address(text) == address


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "[::1]", "::1:80", "x.com:80", ":80", "*:80", "127.0.0.1:http", 3128, "127.0.0.1:"]
)
def test_what_cannot_be_bound_is_refused(text):
    with pytest.raises(Mistake):
        listen_address(text)


def test_endpoints_have_a_port():
    assert endpoint("127.0.0.1:8443") == Endpoint("127.0.0.1", 8443)
    assert endpoint("Backend.example:1") == Endpoint("backend.example", 1)
    assert endpoint("unix:/run/docker.sock") == Endpoint("unix:/run/docker.sock", 0)
    assert endpoint("unix:/run/docker.sock").address == "unix:/run/docker.sock"
    assert endpoint("[::1]:8443").address == "[::1]:8443"
    for wrong in ("unix:", "unix:run/docker.sock", "unix:/" + "a" * 107, "unix:/a\nb"):
        with pytest.raises(Mistake, match="Unix socket"):
            endpoint(wrong)
    with pytest.raises(Mistake, match="a port is missing"):
        endpoint("127.0.0.1")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.x.com/v2", BaseUrl("https", "api.x.com", 443, "/v2")),
        ("HTTPS://API.x.com/v2/", BaseUrl("https", "api.x.com", 443, "/v2")),
        ("http://127.0.0.1:9000", BaseUrl("http", "127.0.0.1", 9000)),
        ("https://[::1]:8443/", BaseUrl("https", "::1", 8443)),
        ("https://x.com/a%20b", BaseUrl("https", "x.com", 443, "/a%20b")),
    ],
)
def test_base_urls(text, url):
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "api.x.com",
        "ftp://x.com",
        "https://",
        "https://u:p@x.com",
        "https://x.com/?q",
        "https://x.com#f",
        "https://x.com/a/../b",
        "https://x.com/./b",
        "https://x.com//b",
        "https://x.com/a%2Fb",
        "https://x.com/%2e%2e/b",
        "https://x.com/a;b",
        "https://x.com/a\\b",
        "https://x.com/a\nb",
        "https://x.com /",
        "https://x.com/%zz",
        "https://[::1",
        "https://bücher.example/",
        None,
    ],
)
def test_a_base_url_in_another_than_the_normal_form_is_refused(text):
    with pytest.raises(Mistake):
        base_url(text)


@pytest.mark.parametrize("text", ["/", "/v2", "/v2/", "/a/b~c", "/@scope", "/projects/a%2Fb"])
def test_paths(text):
    assert url_path(text) == text


@pytest.mark.parametrize(
    "text", ["v2", "", "/v2?x", "/a/../b", "/a//b", "/a/*", "/ä", "/a b", "/%2E%2e/b", "/a%5cb", "/a;x=1", 2]
)
def test_bad_paths(text):
    with pytest.raises(Mistake, match="expected a path"):
        url_path(text)


def test_ranges():
    assert cidr("10.0.0.0/8") == "10.0.0.0/8"
    assert cidr("127.0.0.1") == "127.0.0.1/32"
    assert cidr("FC00::/7") == "fc00::/7"
    with pytest.raises(Mistake, match=r"did you mean '10\.0\.0\.0/8'"):
        cidr("10.1.2.3/8")
    with pytest.raises(Mistake, match="not a range"):
        cidr("ten")


@pytest.mark.parametrize("text", ["unix:gateway.sock", "unix:/run/proxyd/apps.sock"])
def test_a_listener_may_be_a_unix_socket(text):
    assert listener_address(text) == text
    assert listener_address("127.0.0.1:0") == "127.0.0.1:0"


@pytest.mark.parametrize("text", ["unix:", "unix:/run/", "unix:a\nb", "gateway.sock", "unix.sock:x", 7])
def test_what_is_no_listeners_address_is_refused(text):
    with pytest.raises(Mistake):
        listener_address(text)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example:443/", "https://app.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[0::1]:80", "http://[::1]"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(text, origin):
    assert web_origin(text) == origin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("*", "each is written out"),
        ("null", "each is written out"),
        ("app.example", "not an origin"),
        ("https://app.example/path", "did you mean 'https://app.example'"),
        ("https://*.example", "not a host name"),
        ("https://u@app.example", "userinfo"),
        ("https://", "not a host name"),
    ],
)
def test_what_is_no_origin_is_refused(text, message):
    with pytest.raises(Mistake, match=message.replace("*", ".")):
        web_origin(text)
