import pytest

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.service import Auth, AuthPart

FIELDS = ["basic", "bearer", "header", "query"]


@pytest.mark.parametrize("scheme", FIELDS)
def test_every_scheme_compiles_and_names_its_secrets(scheme):
    injector = compile_auth(Auth(scheme, (AuthPart("X-Key", "svc/key"),)))
    assert injector.secret_names == ("svc/key",)
    assert all(name == name.lower() for name in injector.fields)


def test_an_unknown_scheme_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="magic; known: alibaba, azure_sas, "):
        compile_auth(Auth("magic", (AuthPart("", "svc/key"),)))


@pytest.mark.parametrize("scheme", FIELDS)
def test_a_missing_secret_is_named(scheme):
    injector = compile_auth(Auth(scheme, (AuthPart("X-Key", "svc/key"),)))
    with pytest.raises(KeyError, match="svc/key"):
        injector.apply([], b"/", {})


@pytest.mark.parametrize("scheme", ["bearer", "basic", "header"])
@pytest.mark.parametrize("breaker", [b"\r", b"\n", b"\0", b"\r\nX-Evil: 1"])
def test_a_value_that_would_break_the_header_is_refused_by_name_and_not_shown(scheme, breaker):
    injector = compile_auth(Auth(scheme, (AuthPart("X-Key", "svc/key"),)))
    with pytest.raises(ValueError, match="svc/key") as caught:
        injector.apply([], b"/", {"svc/key": b"very-private" + breaker})
    assert "very-private" not in str(caught.value)


@pytest.mark.parametrize("scheme", FIELDS)
def test_a_secret_of_less_than_twelve_bytes_is_not_searched_for(scheme):
    injector = compile_auth(Auth(scheme, (AuthPart("X-Key", "svc/key"),)))
    assert all(len(mask) >= 12 for mask in injector.masks({"svc/key": b"elevenbytes"}))
    assert b"elevenbytes" not in injector.masks({"svc/key": b"elevenbytes"})
    assert b"twelve-bytes" in injector.masks({"svc/key": b"twelve-bytes"})


@pytest.mark.parametrize("scheme", FIELDS)
def test_the_percent_encoded_form_is_searched_for_too(scheme):
    injector = compile_auth(Auth(scheme, (AuthPart("X-Key", "svc/key"),)))
    assert b"a%2Fsecret%20of%20length" in injector.masks({"svc/key": b"a/secret of length"})
