import ipaddress

import pytest

from proxyd.core.snapshot import Egress
from proxyd.net import guard as guard_module
from proxyd.net.guard import NO_ADDRESS, OWN, Guard

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2001:200::1",
    "2003::1",
    "3ffe::1",
]

ALWAYS = [
    ("169.254.0.1", "link-local"),
    ("169.254.169.254", "link-local"),
    ("169.254.170.2", "link-local"),
    ("169.254.255.255", "link-local"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
    ("fe80::1", "link-local"),
    ("fe80::1%lo", "link-local"),
    ("fe80::a9fe:a9fe", "link-local"),
    ("febf:ffff::1", "link-local"),
    ("fd00:ec2::254", "metadata"),
    ("fd00:ec2::23", "metadata"),
    ("fd20:ce::254", "metadata"),
    ("fd00:c1::a9fe:a9fe", "metadata"),
    ("fd00:42::42", "metadata"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:a9fe:a9fe", "link-local"),
    ("::ffff:100.100.100.200", "metadata"),
    ("::169.254.169.254", "link-local"),
    ("::ffff:0:169.254.169.254", "link-local"),
    ("64:ff9b::169.254.169.254", "link-local"),
    ("64:ff9b::168.63.129.16", "metadata"),
    ("64:ff9b:1::169.254.169.254", "link-local"),
    ("64:ff9b:1:fffe::169.254.169.254", "link-local"),
    ("64:ff9b:1:a9fe:a9:fe00::", "link-local"),  # RFC 6052 /48
    ("64:ff9b:1:a9:fe:a9fe::", "link-local"),  # /56
    ("64:ff9b:1:0:a9:fea9:fe00:0", "link-local"),  # /64
    ("2002:a9fe:a9fe::1", "link-local"),
    ("2001:0:a9fe:a9fe:0:0:f7f7:f7f7", "link-local"),  # Teredo server
    ("2001:0:808:808:0:0:5601:5601", "link-local"),  # Teredo client, inverted
    ("2606:4700::5efe:a9fe:a9fe", "link-local"),
    ("2606:4700::200:5efe:a9fe:a9fe", "link-local"),
]

UNLESS_ALLOWED = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "this network"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.0", "carrier-grade"),
    ("100.127.255.255", "carrier-grade"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.255", "loopback"),
    ("172.16.0.0", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "reserved"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("192.168.0.1", "private"),
    ("198.18.0.0", "benchmark"),
    ("198.19.255.255", "benchmark"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::8.8.8.8", "compatible"),
    ("::127.0.0.1", "compatible"),
    ("::ffff:8.8.8.8", "mapped"),
    ("::ffff:127.0.0.1", "mapped"),
    ("::ffff:7f00:1", "mapped"),
    ("::ffff:10.0.0.1", "mapped"),
    ("::ffff:0:8.8.8.8", "translated"),
    ("64:ff9b::8.8.8.8", "NAT64"),
    ("64:ff9b::10.0.0.1", "NAT64"),
    ("64:ff9b:1::8.8.8.8", "NAT64"),
    ("64:ff9b:1:a00:0:100::", "NAT64"),
    ("64:ff9b:1:1:ff00::1", "NAT64"),
    ("64:ff9b:2::1", "reserved"),
    ("100::1", "discard"),
    ("2001::1", "Teredo"),
    ("2001:0:808:808:0:0:f7f7:f7f7", "Teredo"),
    ("2001:2::1", "benchmark"),
    ("2001:10::1", "reserved"),
    ("2001:20::1", "reserved"),
    ("2001:1ff::1", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:808:808::1", "6to4"),
    ("2002:a00:1::1", "6to4"),
    ("2606:4700::5efe:808:808", "ISATAP"),
    ("2606:4700::200:5efe:a00:1", "ISATAP"),
    ("3fff::1", "documentation"),
    ("3fff:fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("fc00::1", "unique local"),
    ("fdff::1", "unique local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_dialled(address):
    assert Guard(Egress()).check(address, 443) is None


@pytest.mark.parametrize(("address", "words"), ALWAYS)
@pytest.mark.parametrize("configured", [False, True])
def test_link_local_and_metadata_are_refused_whatever_is_configured(address, words, configured):
    guard = Guard(Egress(allow=("0.0.0.0/0", "::/0")))
    assert words in (guard.check(address, 80, configured=configured) or "")


@pytest.mark.parametrize(("address", "words"), UNLESS_ALLOWED)
def test_what_is_not_public_is_refused_by_default(address, words):
    assert words in (Guard(Egress()).check(address, 443) or "")


@pytest.mark.parametrize(("address", "_words"), UNLESS_ALLOWED)
def test_a_configured_endpoint_may_be_anywhere_else(address, _words):
    assert Guard(Egress()).check(address, 443, configured=True) is None


@pytest.mark.parametrize(("address", "_words"), UNLESS_ALLOWED)
def test_egress_allow_opens_what_is_not_public(address, _words):
    assert Guard(Egress(allow=("0.0.0.0/0", "::/0"))).check(address, 443) is None


def test_egress_allow_opens_nothing_beside_its_range():
    guard = Guard(Egress(allow=("10.1.0.0/16",)))
    assert guard.check("10.1.2.3", 443) is None
    assert guard.check("10.2.2.3", 443) is not None


def test_allowing_an_ipv4_range_allows_its_mapped_form_which_is_the_same_dial():
    guard = Guard(Egress(allow=("127.0.0.0/8",)))
    assert guard.check("::ffff:127.0.0.1", 443) is None
    assert guard.check("::127.0.0.1", 443) is not None


@pytest.mark.parametrize(
    ("inside_private", "inside_public", "form"),
    [
        ("64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b::/96"),
        ("64:ff9b:1:fffe::10.0.0.1", "64:ff9b:1:fffe::8.8.8.8", "64:ff9b:1::/48"),
        ("64:ff9b:1:a00:0:100::", "64:ff9b:1:808:8:800::", "64:ff9b:1::/48"),
        ("2002:a00:1::1", "2002:808:808::1", "2002::/16"),
        ("2001:0:808:808:0:0:f5ff:fffe", "2001:0:808:808:0:0:f7f7:f7f7", "2001::/32"),
        ("::10.0.0.1", "::8.8.8.8", "::/96"),
        ("::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:0/96"),
        ("fd12::5efe:a00:1", "fd12::5efe:808:808", "fd12::/64"),
    ],
)
def test_allowing_an_embedding_form_does_not_allow_private_addresses_inside(inside_private, inside_public, form):
    guard = Guard(Egress(allow=(form,)))
    assert "embeds a private address" in (guard.check(inside_private, 443) or "")
    assert guard.check(inside_public, 443) is None


def test_allowing_form_and_inside_allows_the_embedded_address():
    assert Guard(Egress(allow=("64:ff9b::/96", "10.0.0.0/8"))).check("64:ff9b::10.0.0.1", 443) is None


@pytest.mark.parametrize(
    ("own", "address"),
    [
        ("127.0.0.1:3128", "127.0.0.1"),
        ("127.0.0.1:3128", "::ffff:127.0.0.1"),
        ("127.0.0.1:3128", "::127.0.0.1"),
        ("127.0.0.1:3128", "0.0.0.0"),
        ("127.0.0.1:3128", "::"),
        ("127.0.0.1:3128", "64:ff9b::127.0.0.1"),
        ("[::1]:3128", "::1"),
        ("[::1]:3128", "::1%lo"),
        ("[::1]:3128", "::"),
        ("[::ffff:127.0.0.1]:3128", "127.0.0.1"),
        ("0.0.0.0:3128", "0.0.0.0"),
        ("0.0.0.0:3128", "127.0.0.1"),
        ("0.0.0.0:3128", "127.8.8.8"),
        ("0.0.0.0:3128", "::ffff:127.0.0.1"),
        ("[::]:3128", "::1"),
        ("[::]:3128", "127.0.0.1"),
        ("[::]:3128", "::ffff:0.0.0.0"),
        ("8.8.8.8:3128", "8.8.8.8"),
        ("[2606:4700::1]:3128", "2606:4700:0::1"),
    ],
)
@pytest.mark.parametrize("configured", [False, True])
def test_own_listeners_are_never_dialled(own, address, configured):
    guard = Guard(Egress(own=(own,), allow=("0.0.0.0/0", "::/0")))
    assert guard.check(address, 3128, configured=configured) == OWN
    assert guard.check(address, 3129, configured=True) is None


def test_a_wildcard_listener_covers_the_addresses_of_every_interface(monkeypatch):
    held = ipaddress.ip_address("8.8.4.4")
    monkeypatch.setattr(guard_module, "_is_local", held.__eq__)
    guard = Guard(Egress(own=("0.0.0.0:3128",)))
    assert guard.check("8.8.4.4", 3128) == OWN
    assert guard.check("8.8.8.8", 3128) is None


def test_the_kernel_tells_which_addresses_are_local():
    assert guard_module._is_local(ipaddress.ip_address("127.0.0.1"))
    assert not guard_module._is_local(ipaddress.ip_address("192.0.2.77"))


def test_another_loopback_address_is_not_the_listener_beside_it():
    assert Guard(Egress(own=("127.0.0.1:3128",))).check("127.0.0.2", 3128, configured=True) is None


@pytest.mark.parametrize("own", ["localhost:3128", "127.0.0.1", "127.0.0.1:http", "/run/proxyd.sock"])
def test_an_own_address_that_cannot_be_read_is_an_error_not_a_gap(own):
    with pytest.raises(ValueError, match="not ip:port"):
        Guard(Egress(own=(own,)))


@pytest.mark.parametrize("text", ["", "example.com", "127.1", "0x7f000001", "2130706433", "127.0.0.01", "1.2.3.4.5"])
def test_what_is_no_address_is_refused(text):
    assert Guard(Egress(allow=("0.0.0.0/0",))).check(text, 80, configured=True) == NO_ADDRESS


def test_a_repeated_check_says_the_same_and_kept_verdicts_are_bounded(monkeypatch):
    monkeypatch.setattr(guard_module, "MAX_VERDICTS", 8)
    guard = Guard(Egress())
    texts = [f"10.0.0.{i}" for i in range(20)] + ["8.8.8.8"]
    first = [guard.check(text, 443) for text in texts]
    assert [guard.check(text, 443) for text in texts] == first
    assert len(guard._verdicts) <= 8
