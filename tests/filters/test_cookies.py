"""A gateway's cookies: they come back for what they were set for, and for no other service."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.authority import Authority
from proxyd.core.facade import Facade
from proxyd.filters.cookies import rewrite_cookie

UPSTREAM = Authority("api.x.example", 443, False)
BY_PATH = Facade(b"http", b"127.0.0.1:3129", b"/x", b"https", UPSTREAM, b"/v2", is_gateway=True)
BY_HOST = Facade(b"http", b"x.localhost:3129", b"", b"https", UPSTREAM, b"/v2", is_gateway=True)
BY_NAME = Facade(b"http", b"x", b"", b"https", UPSTREAM, b"", is_gateway=True)
PLAIN = Facade(b"http", b"x", b"", b"http", UPSTREAM, b"", is_gateway=True)
PATH = b"/v2/a/b?q"


@pytest.mark.parametrize(
    ("facade", "said", "meant"),
    [
        (BY_PATH, b"s=1; Domain=api.x.example; Path=/", b"s=1; Domain=127.0.0.1; Path=/x"),
        (BY_PATH, b"s=1; domain=.X.example; Path=/v2/c", b"s=1; Domain=127.0.0.1; Path=/x/c"),
        (BY_PATH, b"s=1", b"s=1; Path=/x/a"),
        (BY_PATH, b"s=1; Path=relative", b"s=1; Path=/x/a"),
        (BY_PATH, b"s=1; Path=/v2", b"s=1; Path=/x"),
        (BY_PATH, b"s=1; Path=/v22", b"s=1; Path=/x/v22"),
        (BY_PATH, b"s=1; Path=/y", b"s=1; Path=/x/y"),
        (BY_PATH, b"s=1; Path=/v2; Path=/v2/d", b"s=1; Path=/x/d"),
        (BY_HOST, b"s=1; Domain=api.x.example; Path=/v2", b"s=1; Domain=x.localhost; Path=/"),
        (BY_HOST, b"s=1; Path=/v2/c", b"s=1; Path=/c"),
        (BY_HOST, b"s=1; Path=/", b"s=1; Path=/"),
        (BY_HOST, b"s=1", b"s=1"),
        (BY_NAME, b"s=1; Domain=api.x.example; HttpOnly", b"s=1; HttpOnly"),
        (BY_NAME, b"s=1; Domain=other.example", b"s=1; Domain=other.example"),
        (BY_NAME, b"s=1; Domain=i.x.example", b"s=1; Domain=i.x.example"),
        (BY_NAME, b"s=1; Secure; SameSite=Lax", b"s=1; SameSite=Lax"),
        (BY_NAME, b"__Secure-s=1; Secure", b"__Secure-s=1; Secure"),
        (BY_NAME, b"__Host-s=1; Secure; Path=/", b"__Host-s=1; Secure; Path=/"),
        (PLAIN, b"s=1; Secure", b"s=1; Secure"),
    ],
)
def test_set_cookie_in_the_clients_form(facade: Facade, said: bytes, meant: bytes) -> None:
    assert rewrite_cookie(said, facade, PATH) == meant


def test_an_address_has_no_parent_domain() -> None:
    facade = Facade(b"http", b"127.0.0.1:1", b"/x", b"http", Authority("10.0.0.1", 80, True), b"", is_gateway=True)
    assert rewrite_cookie(b"s=1; Domain=0.0.1; Path=/", facade, b"/") == b"s=1; Domain=0.0.1; Path=/x"


ATTRIBUTES = st.lists(
    st.sampled_from([b"Path=/", b"Path=/v2", b"Path=/y/z", b"path = /../y", b"Path", b"Domain=127.0.0.1", b"Secure",
                     b" Path=y", b"", b"=", b"Path=/v2/../y"]),
    max_size=6,
)  # fmt: skip


@given(ATTRIBUTES)
def test_a_cookie_never_leaves_its_services_part_of_the_tree(attributes: list[bytes]) -> None:
    answer = rewrite_cookie(b";".join([b"s=1", *attributes]), BY_PATH, PATH)
    paths = [
        part.partition(b"=")[2].strip() for part in answer.split(b";")[1:] if part.strip().lower().startswith(b"path")
    ]
    assert paths
    assert paths[-1] == b"/x" or paths[-1].startswith(b"/x/")
