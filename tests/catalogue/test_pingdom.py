"""Requests in the form that Pingdom documents, through proxyd, to a double of it."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
HOST = "api.pingdom.com"
TOKEN = "AAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """Pingdom's rule for API 3.1: a bearer, and nothing of API 2; https://docs.pingdom.com/api/."""
    strange = asked.values("app-key") or asked.values("account-email")
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" and not strange else "Invalid token"


def answers(asked):
    limits = {"req-limit-short": "Remaining: 394 Time until reset: 3589"}
    match asked.method, asked.path:
        case "GET", "/api/3.1/checks":
            return Answer(200, {"checks": [{"id": 1, "name": "Front page", "status": "up"}]}, limits)
        case "POST", "/api/3.1/checks":
            return Answer(200, {"check": {"id": 2, "name": asked.json()["name"]}}, limits)
    return Answer(404, {"error": {"statuscode": 404, "statusdesc": "Not Found", "errormessage": "Not found"}})


def refuse(why):
    return Answer(401, {"error": {"statuscode": 401, "statusdesc": "Unauthorized", "errormessage": why}})


@pytest.mark.parametrize("token", [TOKEN, "BBBBBBBB_BBBBBBBBBBBBBBBBBB"], ids=["right", "wrong"])
def test_requests_with_placeholders_arrive_with_the_token(pki_of, vendor, proxied, token):
    import requests

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    proxied(pki, {"pingdom": {"secret": "p/token", **loopback(double.port)}}, {"p/token": token})
    fields = {"Authorization": f"Bearer {PLACEHOLDER}", "App-Key": "old", "Account-Email": "old@example.com"}
    listed = requests.get(f"https://{HOST}/api/3.1/checks", headers=fields, timeout=20)
    if token != TOKEN:
        assert listed.json()["error"]["errormessage"] == "Invalid token"
        return
    assert listed.json()["checks"][0]["name"] == "Front page"
    check_ = {"name": "Shop", "host": "shop.example", "type": "http"}
    made = requests.post(f"https://{HOST}/api/3.1/checks", json=check_, headers=fields, timeout=20)
    assert made.json()["check"] == {"id": 2, "name": "Shop"}
    assert double.refused == []


def test_a_user_and_password_of_the_ended_api_are_refused_with_what_to_use(tmp_path):
    from proxyd.config.load import load_text

    text = "listeners: [{name: apps, mode: forward, address: 127.0.0.1:0}]\nservices: {pingdom: {secret: p/token}}\n"
    (settings,) = [load_text(text, "test", tmp_path, tmp_path, tmp_path)]
    (form,) = [source.form for source in settings.secrets if source.name == "p/token"]
    assert any("API 2.x" in why for _, why in form.refused)
