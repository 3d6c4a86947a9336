import base64

import pytest

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.service import Auth, AuthPart

CLIENT = [(b"authorization", b"Bearer client"), (b"accept", b"*/*"), (b"authorization", b"Basic Y2xpZW50")]


def test_bearer_replaces_every_authorization_of_the_client():
    injector = compile_auth(Auth("bearer", (AuthPart("", "svc/token"),)))
    headers, path = injector.apply(CLIENT, b"/v2?x=1", {"svc/token": b"t0k3n"})
    assert headers == [(b"accept", b"*/*"), (b"authorization", b"Bearer t0k3n")]
    assert path == b"/v2?x=1"
    assert len(CLIENT) == 3


def test_a_rotated_secret_is_used_from_the_next_attempt_on():
    injector = compile_auth(Auth("bearer", (AuthPart("", "svc/token"),)))
    for value in (b"old", b"old", b"new"):
        headers, _ = injector.apply([], b"/", {"svc/token": value})
        assert headers == [(b"authorization", b"Bearer " + value)]


def test_a_value_that_broke_is_refused_each_time_and_the_former_never_sent_in_its_place():
    injector = compile_auth(Auth("bearer", (AuthPart("", "svc/token"),)))
    injector.apply([], b"/", {"svc/token": b"good"})
    for _ in range(2):
        with pytest.raises(ValueError, match="svc/token"):
            injector.apply([], b"/", {"svc/token": b"bad\n"})


def test_basic_with_a_user_in_clear():
    injector = compile_auth(Auth("basic", (AuthPart("", "svc/password"),), user="älice"))
    headers, _ = injector.apply(CLIENT, b"/", {"svc/password": b"p:w"})
    assert headers[-1] == (b"authorization", b"Basic " + base64.b64encode("älice:p:w".encode()))
    assert len(headers) == 2


def test_basic_with_a_user_that_is_a_secret():
    injector = compile_auth(Auth("basic", (AuthPart("", "svc/password"),), user_secret="svc/user"))
    assert set(injector.secret_names) == {"svc/user", "svc/password"}
    headers, _ = injector.apply([], b"/", {"svc/user": b"u", "svc/password": b"p"})
    assert headers == [(b"authorization", b"Basic " + base64.b64encode(b"u:p"))]


def test_basic_refuses_a_secret_user_with_a_colon_and_does_not_show_it():
    injector = compile_auth(Auth("basic", (AuthPart("", "svc/password"),), user_secret="svc/user"))
    with pytest.raises(ValueError, match="svc/user") as caught:
        injector.apply([], b"/", {"svc/user": b"ali:ce", "svc/password": b"p"})
    assert "ali" not in str(caught.value)


def test_basic_masks_the_encoded_pair():
    injector = compile_auth(Auth("basic", (AuthPart("", "svc/password"),), user="alice"))
    masks = injector.masks({"svc/password": b"a-long-password"})
    assert base64.b64encode(b"alice:a-long-password") in masks
    assert b"a-long-password" in masks


def test_headers_of_a_vendor_are_owned_in_lower_case_with_their_prefix():
    parts = (AuthPart("X-Api-Key", "svc/key"), AuthPart("X-App", "svc/app", prefix="Token "))
    injector = compile_auth(Auth("header", parts))
    assert injector.fields == {b"x-api-key", b"x-app"}
    headers, _ = injector.apply(
        [(b"x-api-key", b"client"), (b"authorization", b"mine"), (b"x-app", b"client")],
        b"/",
        {"svc/key": b"k", "svc/app": b"a"},
    )
    assert headers == [(b"authorization", b"mine"), (b"x-api-key", b"k"), (b"x-app", b"Token a")]


@pytest.mark.parametrize(("headers", "supplied"), [(CLIENT, True), ([(b"accept", b"*/*")], False), ([], False)])
def test_the_clients_own_credential_is_noticed(headers, supplied):
    assert compile_auth(Auth("bearer", (AuthPart("", "t"),))).client_supplied(headers, b"/?authorization=x") is supplied
