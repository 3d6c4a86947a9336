import pytest

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.service import Auth, AuthPart


def injector(**part):
    return compile_auth(Auth("cookie", (AuthPart("session", "svc/key", **part),)))


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ([], b"session=k3y"),
        ([b"a=1; b=2"], b"a=1; b=2; session=k3y"),
        ([b"session=old; a=1;  session=older"], b"a=1; session=k3y"),
        ([b"a=1", b"session=old", b"b=2"], b"a=1; b=2; session=k3y"),
        ([b"; ;session"], b"session=k3y"),
        ([b"mysession=1; Session=2"], b"mysession=1; Session=2; session=k3y"),
    ],
)
def test_it_takes_the_place_of_the_clients_and_the_others_stay(sent, arrives):
    headers = [(b"accept", b"*/*"), *((b"cookie", value) for value in sent)]
    made, path = injector().apply(headers, b"/", {"svc/key": b"k3y"})
    assert made == [(b"accept", b"*/*"), (b"cookie", arrives)]
    assert path == b"/"


def test_a_prefix_stands_before_it():
    made, _ = injector(prefix="v1.").apply([], b"/", {"svc/key": b"k3y"})
    assert made == [(b"cookie", b"session=v1.k3y")]


@pytest.mark.parametrize("value", [b"a;b", b"a b", b'a"b', b"a,b", b"a\r\nb", "ä".encode()])
def test_a_value_that_would_end_the_cookie_is_refused_by_name(value):
    with pytest.raises(ValueError, match="svc/key") as caught:
        injector().apply([], b"/", {"svc/key": value})
    assert repr(value)[2:-1] not in str(caught.value)


def test_a_client_that_sends_the_cookie_has_a_credential_of_its_own():
    assert injector().client_supplied([(b"cookie", b"a=1; session=x")], b"/")
    assert not injector().client_supplied([(b"cookie", b"sessions=x")], b"/")
