"""The official client with a placeholder, through proxyd, to a double of PagerDuty."""

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("pagerduty",)
AGAINST = "double"
TOKEN = "u+AAAAAAAAAAAAAAAAAA"
HOSTS = ("api.pagerduty.com", "events.pagerduty.com")


def check(asked):
    """PagerDuty's rule: ``Token token=KEY`` for the API."""
    return "" if asked.value("authorization") == f"Token token={TOKEN}" else "Invalid token"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/users":
            first = asked.parameter("offset") in ("", "0")
            users = [{"id": "P1" if first else "P2", "type": "user", "name": "Ada" if first else "Grace"}]
            return Answer(200, {"users": users, "more": first, "offset": 0 if first else 1, "limit": 1})
        case "GET", "/abilities":
            return Answer(200, {"abilities": ["teams"]})
    return Answer(404, {"error": {"message": "Not Found", "code": 2100}})


def refuse(why):
    return Answer(401, {"error": {"message": why, "code": 2006}})


def test_the_client_works_with_a_placeholder(pki_of, vendor, proxied):
    import pagerduty

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers, refuse)
    service = {"secret": {"token": "pd/token"}, **loopback(double.port)}
    proxied(pki, {"pagerduty": service}, {"pd/token": TOKEN})
    client = pagerduty.RestApiV2Client(PLACEHOLDER)
    assert [user["name"] for user in client.iter_all("users", page_size=1)] == ["Ada", "Grace"]
    assert client.rget("abilities") == ["teams"]
    assert double.refused == []
    assert double.asked[-1].value("accept") == "application/vnd.pagerduty+json;version=2"
