"""Requests in the form that AppDynamics documents, through proxyd, to doubles of a controller and of the events API."""

import pytest

from tests.catalogue.lab.issuer import asking
from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
CONTROLLER, EVENTS = "acme.saas.appdynamics.com", "analytics.api.appdynamics.com"
CLIENT, SECRET = "proxyd@acme", "01234567-89ab-cdef-0123-456789abcdef"
TOKEN = "eyJraWQiOiI4Yz.AAAA.BBBB"
ACCOUNT, KEY = "acme_0123", "fedcba98-7654-3210-fedc-ba9876543210"


def check(asked):
    """The controller gives tokens to API clients and takes them as bearers; the events API has fields of its own.

    https://docs.appdynamics.com/appd/latest/extend-cisco-appdynamics/appdynamics-apis/api-clients
    """
    if asked.path == "/controller/api/oauth/access_token":
        if asked.value("content-type") != "application/vnd.appd.cntrl+protobuf;v=1":
            return "not the media type of the documentation"
        if f"client_id={CLIENT}&".encode() not in asked.body:
            return "the documentation leaves the at sign as it is"
        form = asked.form()
        is_client = form.get("client_id") == CLIENT and form.get("client_secret") == SECRET
        return "" if is_client and form.get("grant_type") == "client_credentials" else "Invalid client"
    if asked.host == EVENTS:
        pair = asked.value("x-events-api-accountname"), asked.value("x-events-api-key")
        return "" if pair == (ACCOUNT, KEY) else "Unauthorized"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" and not asked.values("cookie") else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/controller/api/oauth/access_token":
            return Answer(200, {"access_token": TOKEN, "expires_in": 300})
        case "GET", "/controller/rest/applications":
            return Answer(200, [{"id": 1, "name": "shop"}])
        case "POST", "/events/publish/orders":
            return Answer(200)
    return Answer(404)


@pytest.mark.parametrize("secret", [SECRET, "another-secret-0000"], ids=["right", "wrong"])
def test_a_controller_takes_the_token_that_it_gave(pki_of, vendor, proxied, tmp_path, secret):
    import requests

    pki = pki_of(CONTROLLER, "localhost")
    double = vendor(pki, check, answers)
    service = {"secret": {"client_id": "a/id", "client_secret": "a/secret"}, **loopback(double.port, [CONTROLLER])}
    catalogue = [asking("appdynamics", double.port, tmp_path)]
    proxied(pki, {"appdynamics": service}, {"a/id": CLIENT, "a/secret": secret}, catalogue=catalogue)
    fields = {"Authorization": f"Bearer {PLACEHOLDER}", "Cookie": "JSESSIONID=old"}
    url = f"https://{CONTROLLER}/controller/rest/applications?output=JSON"
    answer = requests.get(url, headers=fields, timeout=30)
    if secret != SECRET:
        assert "issuer answered 401" in answer.json()["detail"]
        return
    assert answer.json()[0]["name"] == "shop"


def test_events_carry_account_and_key(pki_of, vendor, proxied):
    import requests

    pki = pki_of(EVENTS)
    double = vendor(pki, check, answers)
    service = {"secret": {"account_name": "a/name", "events_key": "a/key"}, **loopback(double.port)}
    proxied(pki, {"appdynamics": service}, {"a/name": ACCOUNT, "a/key": KEY})
    fields = {"X-Events-API-AccountName": "me", "X-Events-API-Key": PLACEHOLDER}
    sent = requests.post(f"https://{EVENTS}/events/publish/orders", json=[{"id": 1}], headers=fields, timeout=20)
    assert sent.status_code == 200
    assert double.refused == []
