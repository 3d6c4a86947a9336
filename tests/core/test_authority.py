import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.authority import Authority, normalise_host, parse_authority


@pytest.mark.parametrize(
    ("raw", "host", "port", "is_ip"),
    [
        (b"API.Example", "api.example", 443, False),
        (b"api.example.", "api.example", 443, False),
        (b"api.example:", "api.example", 443, False),
        (b"api.example:8443", "api.example", 8443, False),
        (b"api.example.:0443", "api.example", 443, False),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example", 443, False),
        (b"_dmarc.example", "_dmarc.example", 443, False),
        (b"localhost:65535", "localhost", 65535, False),
        (b"192.0.2.1", "192.0.2.1", 443, True),
        (b"192.0.2.1.:80", "192.0.2.1", 80, True),
        (b"[2001:DB8:0:0::1]", "2001:db8::1", 443, True),
    ],
)
def test_equal_authorities_are_spelled_alike(raw, host, port, is_ip):
    parsed = parse_authority(raw, 443)
    assert parsed == Authority(host, port, is_ip)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b":80",
        b"user@api.example",
        b"user:pw@api.example:443",
        b"api.example:0",
        b"api.example:65536",
        b"api.example:+80",
        b"api.example:80 ",
        b" api.example",
        b"api.example:http",
        b"api..example",
        b".example",
        b"-api.example",
        b"api-.example",
        b"a" * 64 + b".example",
        b"a." * 127 + b"example",
        b"api/example",
        b"api%2eexample",
        b"api\0.example",
        b"2001:db8::1",
        b"[2001:db8::1",
        b"[2001:db8::1]80",
        b"[192.0.2.1]",
        b"[api.example]",
        b"[fe80::1%25eth0]",
        b"[fe80::1%eth0]:80",
        b"0x7f.1",
        b"127.1",
        b"2130706433",
        b"0177.0.0.1",
        b"127.0.0.1.1",
        b"api.example.0x10",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        parse_authority(raw, 443)


def test_bytes_beyond_ascii_are_refused():
    with pytest.raises(ValueError, match="ascii"):
        parse_authority("bücher.example".encode(), 443)


def test_a_port_is_demanded_where_none_is_the_default():
    with pytest.raises(ValueError, match="port is missing"):
        parse_authority(b"api.example", None)
    assert parse_authority(b"api.example:80", None).port == 80


@pytest.mark.parametrize(
    ("authority", "scheme", "field"),
    [
        (Authority("api.example", 443, False), b"https", b"api.example"),
        (Authority("api.example", 443, False), b"http", b"api.example:443"),
        (Authority("api.example", 80, False), b"http", b"api.example"),
        (Authority("2001:db8::1", 443, True), b"https", b"[2001:db8::1]"),
        (Authority("2001:db8::1", 8443, True), b"https", b"[2001:db8::1]:8443"),
    ],
)
def test_the_host_field_leaves_the_schemes_own_port_out(authority, scheme, field):
    assert authority.host_header(scheme) == field


hosts = st.one_of(
    st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,20}[a-z0-9])?){0,3}", fullmatch=True),
    st.ip_addresses().map(str),
)


@given(hosts, st.integers(1, 65535))
def test_what_is_printed_reads_back_the_same(host, port):
    name, is_ip = normalise_host(host)
    authority = Authority(name, port, is_ip)
    assert parse_authority(str(authority), None) == authority
    assert parse_authority(str(authority).upper().encode(), None) == authority
