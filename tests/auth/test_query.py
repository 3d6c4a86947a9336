import pytest

from proxyd.auth.registry import compile as compile_auth
from proxyd.core.service import Auth, AuthPart

VALUES = {"svc/key": b"k/1 &=", "svc/app": b"app"}


def injector(*names):
    return compile_auth(Auth("query", tuple(AuthPart(name, "svc/key") for name in names or ("key",))))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/v2", b"/v2?key=SECRET"),
        (b"/v2?", b"/v2?key=SECRET"),
        (b"/v2?key=client", b"/v2?key=SECRET"),
        (b"/v2?key", b"/v2?key=SECRET"),
        (b"/v2?key=a&x=1&key=b", b"/v2?x=1&key=SECRET"),
        (b"/v2?%6bey=client&x=1", b"/v2?x=1&key=SECRET"),
        (b"/v2?k%65%79=client", b"/v2?key=SECRET"),
        (b"/v2?Key=1&keys=2&xkey=3", b"/v2?Key=1&keys=2&xkey=3&key=SECRET"),
        (b"/v2?x=key&y=%6bey", b"/v2?x=key&y=%6bey&key=SECRET"),
        (b"/v2?a=%2f+b&&c=%zz&=d&", b"/v2?a=%2f+b&&c=%zz&=d&&key=SECRET"),
        (b"/v2?x=a?key=b", b"/v2?x=a?key=b&key=SECRET"),
    ],
)
def test_the_clients_parameter_goes_and_all_others_stay_byte_for_byte(path, expected):
    _, changed = injector().apply([], path, VALUES)
    assert changed == expected.replace(b"SECRET", b"k%2F1%20%26%3D")


@pytest.mark.parametrize("spelling", [b"api+key", b"api%20key", b"%61pi+key"])
def test_a_plus_in_a_name_is_a_space(spelling):
    _, changed = injector("api key").apply([], b"/?" + spelling + b"=client&a+b=1", VALUES)
    assert changed == b"/?a+b=1&api%20key=k%2F1%20%26%3D"


def test_several_parameters_with_prefixes():
    auth = Auth("query", (AuthPart("key", "svc/key"), AuthPart("app", "svc/app", prefix="id:")))
    _, changed = compile_auth(auth).apply([], b"/?app=1&key=2", VALUES)
    assert changed == b"/?key=k%2F1%20%26%3D&app=id%3Aapp"


def test_headers_are_left_alone():
    headers = [(b"authorization", b"client"), (b"key", b"v")]
    assert injector().apply(headers, b"/", VALUES)[0] == headers
    assert injector().fields == frozenset()


@pytest.mark.parametrize(
    ("path", "supplied"),
    [(b"/?key=1", True), (b"/?a=1&%6bey", True), (b"/?keys=1", False), (b"/key=1", False), (b"/", False)],
)
def test_the_clients_own_credential_is_noticed(path, supplied):
    assert injector().client_supplied([(b"key", b"1")], path) is supplied
