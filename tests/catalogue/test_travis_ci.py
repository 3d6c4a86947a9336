"""Requests in the form that Travis CI documents, through proxyd, to a double of it."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
TOKEN = "AAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """Travis CI's rule: ``token`` in small letters before the token, and a version of the API."""
    if asked.value("travis-api-version") != "3":
        return "login_required"
    return "" if asked.value("authorization") == f"token {TOKEN}" else "login_required"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/user":
            user = {"@type": "user", "@href": "/user/1", "@representation": "standard", "@permissions": {"read": True}}
            return Answer(200, {**user, "id": 1, "login": "ada", "name": "Ada", "email": "ada@example.com"})
    return Answer(404, {"@type": "error", "error_type": "not_found", "error_message": "resource not found"})


def refuse(why):
    return Answer(403, {"@type": "error", "error_type": why, "error_message": "login required"})


@pytest.mark.parametrize("token", [TOKEN, "BBBBBBBBBBBBBBBBBBBBBB"], ids=["right", "wrong"])
def test_requests_with_a_placeholder_arrive_with_the_token(pki_of, vendor, proxied, token):
    """https://developer.travis-ci.com/authentication."""
    import requests

    pki = pki_of("api.travis-ci.com")
    double = vendor(pki, check, answers, refuse)
    proxied(pki, {"travis-ci": {"secret": "t/token", **loopback(double.port)}}, {"t/token": token})
    fields = {"Travis-API-Version": "3", "Authorization": f"token {PLACEHOLDER}"}
    answer = requests.get("https://api.travis-ci.com/user", headers=fields, timeout=20)
    if token != TOKEN:
        assert answer.json()["error_type"] == "login_required"
        return
    assert answer.json()["login"] == "ada"
    assert double.refused == []


def test_a_request_without_a_version_gets_the_pinned_one(pki_of, vendor, proxied):
    import requests

    pki = pki_of("api.travis-ci.com")
    double = vendor(pki, check, answers, refuse)
    proxied(pki, {"travis-ci": {"secret": "t/token", **loopback(double.port)}}, {"t/token": TOKEN})
    assert requests.get("https://api.travis-ci.com/user?access_token=old", timeout=20).json()["login"] == "ada"
    assert double.asked[-1].parameter("access_token") == ""
