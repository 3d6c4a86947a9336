import base64

import pytest

from proxyd.core.access import ProxyUser
from proxyd.core.errors import Flag, ProxyError
from proxyd.worker.authenticate import authenticate

USERS = (ProxyUser("alice", "proxy/alice"), ProxyUser("böb", "proxy/bob"))
SECRETS = {"proxy/alice": b"wonder:land", "proxy/bob": b"builder"}


def basic(pair):
    return b"Basic " + base64.b64encode(pair.encode())


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (basic("alice:wonder:land"), "alice"),
        (basic("böb:builder"), "böb"),
        (basic("böb:builder").replace(b"Basic", b"bAsIc"), "böb"),
        (basic("alice:wonder:land").replace(b" ", b"   ") + b" ", "alice"),
    ],
)
def test_a_user_is_proven_by_name_and_password(value, user):
    assert authenticate(USERS, SECRETS, value) == user


REFUSED = [
    None,
    b"",
    b"Basic",
    b"Basic ",
    b"Basic !!!!",
    b"Basic YWxpY2U",
    b"Bearer wonder:land",
    basic("alice"),
    basic("alice:"),
    basic("alice:builder"),
    basic("Alice:wonder:land"),
    basic(":wonder:land"),
    basic("alice:wonder:land "),
    basic("mallory:builder"),
    b"Basic \xff\xfe",
]


@pytest.mark.parametrize("value", REFUSED)
def test_anything_else_is_answered_407(value):
    with pytest.raises(ProxyError) as caught:
        authenticate(USERS, SECRETS, value)
    assert (caught.value.status, caught.value.flag) == (407, Flag.DENIED)


@pytest.mark.parametrize("value", [basic("alice:"), basic("alice:wonder:land"), basic("alice")])
def test_a_user_whose_secret_is_missing_proves_nothing(value):
    with pytest.raises(ProxyError):
        authenticate(USERS, {}, value)


def test_the_refusal_shows_neither_password():
    with pytest.raises(ProxyError) as caught:
        authenticate(USERS, SECRETS, basic("alice:guessed-it"))
    assert "guessed" not in repr(caught.value)
    assert "wonder" not in repr(caught.value)


def test_without_users_nobody_is_proven():
    with pytest.raises(ProxyError):
        authenticate((), SECRETS, basic("alice:wonder:land"))


def test_a_former_password_counts_while_its_overlap_lasts():
    former = {"proxy/alice": (b"looking", b"glass")}
    for password in ("wonder:land", "looking", "glass"):
        assert authenticate(USERS, SECRETS, basic(f"alice:{password}"), former) == "alice"
    with pytest.raises(ProxyError):
        authenticate(USERS, SECRETS, basic("alice:looking"), {})
    with pytest.raises(ProxyError):  # the secret was removed as a whole
        authenticate(USERS, {}, basic("alice:looking"), former)
