"""pycircleci with a placeholder, through proxyd, to a double of CircleCI."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("pycircleci",)
AGAINST = "double"
TOKEN = "CCIPAT_AAAAAAAAAAAAAAAAAAAAAA_0123456789abcdef0123456789abcdef01234567"


def check(asked):
    """CircleCI's rule: Circle-Token, or Basic with the token as the user; both at once are none."""
    strange = asked.values("authorization") or asked.parameter("circle-token")
    return "" if asked.value("circle-token") == TOKEN and not strange else "Invalid token provided."


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/api/v2/me":
            return Answer(200, {"id": "1", "login": "ada", "name": "Ada"})
        case "POST", "/api/v2/project/github/ada/tool/pipeline":
            return Answer(201, {"id": "p-1", "state": "pending", "number": 25, "created_at": "2026-01-01T00:00:00Z"})
    return Answer(404, {"message": "Not found"})


@pytest.mark.parametrize("token", [TOKEN, "CCIPAT_another"], ids=["right", "wrong"])
def test_the_client_works_with_a_placeholder(pki_of, vendor, proxied, token):
    import requests
    from pycircleci.api import Api

    pki = pki_of("circleci.com")
    double = vendor(pki, check, answers)
    proxied(pki, {"circleci": {"secret": "c/token", **loopback(double.port)}}, {"c/token": token})
    client = Api(token=PLACEHOLDER)
    if token != TOKEN:
        with pytest.raises(requests.HTTPError, match="401"):
            client.get_user_info(api_version="v2")
        return
    assert client.get_user_info(api_version="v2")["login"] == "ada"
    assert client.trigger_pipeline("ada", "tool", branch="main")["number"] == 25
    assert double.refused == []
