"""python-sonarqube-api with a placeholder, through proxyd, to a double of a SonarQube Server."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("python-sonarqube-api",)
AGAINST = "double"
HOST = "sonarqube.corp.example"
TOKEN = "squ_0123456789abcdef0123456789abcdef01234567"


def check(asked):
    """SonarQube's rule: a bearer; with a session's cookie or a passcode beside it somebody else would be asking."""
    strange = asked.values("x-sonar-passcode") or asked.values("cookie")
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" and not strange else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/api/projects/search":
            paging = {"pageIndex": 1, "pageSize": 100, "total": 1}
            return Answer(200, {"paging": paging, "components": [{"key": "tool", "name": "Tool"}]})
        case "GET", "/api/authentication/validate":
            return Answer(200, {"valid": True})
    return Answer(404, {"errors": [{"msg": "Unknown url"}]})


@pytest.mark.parametrize("token", [TOKEN, "squ_another"], ids=["right", "wrong"])
def test_the_client_works_with_a_placeholder(pki_of, vendor, proxied, token):
    from sonarqube import SonarQubeClient
    from sonarqube.utils.exceptions import AuthError

    pki = pki_of(HOST)
    double = vendor(pki, check, answers)
    proxied(pki, {"sonarqube": {"secret": "s/token", **loopback(double.port, [HOST])}}, {"s/token": token})
    client = SonarQubeClient(sonarqube_url=f"https://{HOST}", token=PLACEHOLDER)
    if token != TOKEN:
        with pytest.raises(AuthError):
            client.projects.search_projects()
        return
    assert [one["key"] for one in client.projects.search_projects()["components"]] == ["tool"]
    assert double.refused == []


def test_leftovers_of_a_browser_are_removed(pki_of, vendor, proxied):
    import requests

    pki = pki_of(HOST)
    double = vendor(pki, check, answers)
    proxied(pki, {"sonarqube": {"secret": "s/token", **loopback(double.port, [HOST])}}, {"s/token": TOKEN})
    fields = {"Cookie": "JWT-SESSION=old", "X-Sonar-Passcode": "old"}
    answer = requests.get(f"https://{HOST}/api/authentication/validate", headers=fields, timeout=20)
    assert answer.json() == {"valid": True}
