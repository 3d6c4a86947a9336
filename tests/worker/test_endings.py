import types

import pytest

from proxyd.core.message import BytesBody, Response
from proxyd.core.messages import CredentialEnds
from proxyd.worker.endings import MAX_FIELDS, MOST, Endings, template

SUNSET = (b"sunset", b"Sat, 31 Dec 2033 23:59:59 GMT")


class Told(list):
    has_room = True

    def __call__(self, message):
        if self.has_room:
            self.append(message)
        return self.has_room


def exchange(path=b"/v1/items", service="api", method=b"GET", secrets=()):
    request = types.SimpleNamespace(method=method, path=path)
    credential = types.SimpleNamespace(secret_names=secrets) if secrets else None
    return types.SimpleNamespace(request=request, route=types.SimpleNamespace(name=service), credential=credential)


def response(*headers):
    return Response(200, list(headers), BytesBody())


@pytest.fixture
def told():
    return Told()


def test_an_endpoint_is_told_once_whatever_its_identifiers(told):
    endings = Endings(told)
    for path in (b"/v1/items/1", b"/v1/items/22?x=1", b"/v1/items/3f2504e0-4f89-11d3-9a0c-0305e82c3301"):
        endings.saw(exchange(path), response(SUNSET))
    assert [(one.service, one.method, one.path) for one in told] == [("api", "GET", "/v1/items/{id}")]
    assert told[0].fields == [["sunset", "Sat, 31 Dec 2033 23:59:59 GMT"]]


def test_another_method_service_or_date_is_told_anew(told):
    endings = Endings(told)
    endings.saw(exchange(), response(SUNSET))
    endings.saw(exchange(method=b"POST"), response(SUNSET))
    endings.saw(exchange(service="other"), response(SUNSET))
    endings.saw(exchange(), response((b"sunset", b"Sun, 01 Jan 2034 00:00:00 GMT")))
    assert len(told) == 4


def test_a_link_goes_with_it_where_it_is_about_that(told):
    link = (b"link", b'<https://x.example/bye>; rel="sunset"')
    Endings(told).saw(exchange(), response(SUNSET, link, (b"link", b'<https://x.example/?page=2>; rel="next"')))
    assert told[0].fields == [[SUNSET[0].decode(), SUNSET[1].decode()], ["link", link[1].decode()]]


def test_where_there_is_no_room_it_is_told_next_time(told):
    endings = Endings(told)
    told.has_room = False
    endings.saw(exchange(), response(SUNSET))
    told.has_room = True
    endings.saw(exchange(), response(SUNSET))
    assert len(told) == 1


def test_unknown_hosts_and_fields_that_a_filter_took_away_are_nothing(told):
    endings = Endings(told)
    endings.saw(exchange(service=""), response(SUNSET))
    endings.saw(exchange(), response())
    assert told == []


def test_memory_is_bounded(told):
    endings = Endings(told)
    for number in range(MOST + 10):
        endings.saw(exchange(b"/x" + b"a" * (number % 30) + b"b" * (number // 30)), response(SUNSET))
    assert len(endings._told) <= MOST
    endings.saw(exchange(b"/many"), response(*[SUNSET] * 50))
    assert len(told[-1].fields) == MAX_FIELDS
    endings.saw(exchange(b"/long"), response((b"warning", b"x" * 10_000)))
    assert len(told[-1].fields[0][1]) == 256


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", "/"),
        (b"/rest/api/2/issue/10001", "/rest/api/{id}/issue/{id}"),
        (b"/repos/octocat/hello-world/issues", "/repos/octocat/hello-world/issues"),
        (b"/v1/x?id=1", "/v1/x"),
        (b"/a/" + b"z" * 41, "/a/{id}"),
        (b"/users/ada%40example.com", "/users/{id}"),
        (b"/deadbeef", "/{id}"),
        (b"/1/2/3/4/5/6/7/8/9/10", "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/…"),
    ],
)
def test_identifiers_are_left_out_of_paths(path, expected):
    assert template(path) == expected


EXPIRES = (b"github-authentication-token-expiration", b"2026-12-31 23:59:59 UTC")


def test_the_end_of_a_credential_is_told_once_and_is_no_end_of_an_endpoint(told):
    endings = Endings(told)
    for path in (b"/a", b"/b"):
        assert not endings.saw(exchange(path, secrets=("github/token",)), response(EXPIRES))
    assert told == [CredentialEnds("github/token", "2026-12-31 23:59:59 UTC")]


def test_both_ends_of_one_answer_are_told(told):
    assert Endings(told).saw(exchange(secrets=("github/token",)), response(EXPIRES, SUNSET))
    assert [type(one).__name__ for one in told] == ["CredentialEnds", "Announced"]
    assert told[1].fields == [["sunset", "Sat, 31 Dec 2033 23:59:59 GMT"]]


@pytest.mark.parametrize("secrets", [(), ("id", "key")], ids=["none", "two"])
def test_without_one_secret_alone_nobody_knows_whose_end_it_is(told, secrets):
    Endings(told).saw(exchange(secrets=secrets), response(EXPIRES))
    assert told == []


def test_another_control_is_told_again(told):
    endings = Endings(told)
    for _ in range(2):
        endings.saw(exchange(), response(SUNSET))
        endings.forget()
    assert len(told) == 2
