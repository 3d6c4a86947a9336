"""Requests in the form that Platform.sh documents, through proxyd, to doubles of its issuer and its API."""

import base64

import pytest

from tests.catalogue.lab.issuer import asking
from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
HOST = "api.platform.sh"
API_TOKEN, TOKEN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"
CLIENT = base64.b64encode(b"platform-api-user:").decode()


def check(asked):
    """An API token is exchanged by the client platform-api-user; https://docs.platform.sh/development/api-tokens.html."""
    if asked.path == "/oauth2/token":
        form = asked.form() if "json" not in asked.value("content-type") else asked.json()
        grant = form.get("grant_type") == "api_token" and asked.value("authorization") == f"Basic {CLIENT}"
        return "" if grant and form.get("api_token") == API_TOKEN else "invalid_grant"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "invalid_token"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/oauth2/token":
            return Answer(200, {"access_token": TOKEN, "token_type": "bearer", "expires_in": 900})
        case "GET", "/users/me":
            return Answer(200, {"id": "u1", "username": "ada"})
    return Answer(404, {"detail": "not here"})


def refuse(why):
    return Answer(400, {"error": why, "error_description": "Invalid API token"})


@pytest.mark.parametrize("token", [API_TOKEN, "B" * 43], ids=["right", "wrong"])
def test_requests_with_placeholders_arrive_with_a_fresh_token(pki_of, vendor, proxied, tmp_path, token):
    import requests

    pki = pki_of(HOST, "localhost")
    double = vendor(pki, check, answers, refuse)
    catalogue = [asking("platform-sh", double.port, tmp_path)]
    proxied(
        pki, {"platform-sh": {"secret": "p/token", **loopback(double.port)}}, {"p/token": token}, catalogue=catalogue
    )
    answer = requests.get(f"https://{HOST}/users/me", headers={"Authorization": f"Bearer {PLACEHOLDER}"}, timeout=30)
    if token != API_TOKEN:
        assert answer.status_code == 500
        assert "invalid_grant" in answer.json()["detail"]
        return
    assert answer.json()["username"] == "ada"
    assert double.refused == []
