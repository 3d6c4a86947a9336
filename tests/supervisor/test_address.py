import socket

import pytest

from proxyd.supervisor.address import address_of, parse_address, text_of


@pytest.mark.parametrize(
    ("text", "family", "written"),
    [
        ("127.0.0.1:3128", socket.AF_INET, "127.0.0.1:3128"),
        ("0.0.0.0:0", socket.AF_INET, "0.0.0.0:0"),
        ("localhost:80", socket.AF_INET, "127.0.0.1:80"),
        ("[::1]:3128", socket.AF_INET6, "[::1]:3128"),
        ("[0:0::1]:3128", socket.AF_INET6, "[::1]:3128"),
        ("unix:/run/proxyd/apps.sock", socket.AF_UNIX, "unix:/run/proxyd/apps.sock"),
    ],
)
def test_addresses_are_parsed_and_written(text, family, written):
    address = parse_address(text)
    assert address.family == family
    assert text_of(address) == written


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected host:port"),
        ("3128", "expected host:port"),
        (":3128", "the host must be an IP address"),
        ("[]:3128", "the host must be an IP address"),
        ("127.0.0.1:", "expected host:port"),
        ("127.0.0.1:65536", "expected host:port"),
        ("127.0.0.1:-1", "expected host:port"),
        ("127.0.0.1:٣", "expected host:port"),
        ("api.example:80", "the host must be an IP address"),
        ("::1:3128", "an IPv6 address goes in brackets"),
        ("unix:relative", "absolute path"),
        ("unix:/a\0b", "absolute path"),
        ("unix:", "absolute path"),
    ],
)
def test_what_is_no_address_is_a_value_error(text, problem):
    with pytest.raises(ValueError, match=problem):
        parse_address(text)


def test_a_bound_socket_has_the_address_it_was_given():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert address_of(server) == parse_address(f"127.0.0.1:{server.getsockname()[1]}")
