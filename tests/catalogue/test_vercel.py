"""Requests in the form that Vercel documents, through proxyd, to a double of it."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
HOST = "api.vercel.com"
TOKEN = "AAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """Vercel's rule: a bearer; https://vercel.com/docs/rest-api#authentication."""
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "Not authorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/v2/user":
            return Answer(200, {"user": {"id": "u1", "username": "ada"}})
        case "POST", "/v13/deployments":
            return Answer(200, {"id": "dpl_1", "name": asked.json()["name"], "readyState": "QUEUED"})
    return Answer(404, {"error": {"code": "not_found", "message": "not here"}})


def refuse(why):
    return Answer(403, {"error": {"code": "forbidden", "message": why, "invalidToken": True}})


@pytest.mark.parametrize("token", [TOKEN, "BBBBBBBBBBBBBBBBBBBBBBBB"], ids=["right", "wrong"])
def test_requests_with_placeholders_arrive_with_the_token(pki_of, vendor, proxied, token):
    import requests

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    proxied(pki, {"vercel": {"secret": "v/token", **loopback(double.port)}}, {"v/token": token})
    fields = {"Authorization": f"Bearer {PLACEHOLDER}"}
    who = requests.get(f"https://{HOST}/v2/user", headers=fields, timeout=20)
    if token != TOKEN:
        assert who.json()["error"]["code"] == "forbidden"
        return
    assert who.json()["user"]["username"] == "ada"
    made = requests.post(f"https://{HOST}/v13/deployments?teamId=t1", json={"name": "shop"}, headers=fields, timeout=20)
    assert made.json()["name"] == "shop"
    assert double.asked[-1].query == [("teamId", "t1")]
    assert double.refused == []
