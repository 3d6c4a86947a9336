"""The official client with a placeholder, through proxyd, to a double of PagerDuty."""

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("pagerduty",)
AGAINST = "double"
TOKEN = "u+AAAAAAAAAAAAAAAAAA"
ROUTING_KEY = "R0ABCDEFGHIJKLMNOPQRSTUVWXYZ0123"
HOSTS = ("api.pagerduty.com", "events.pagerduty.com")


def check(asked):
    """PagerDuty's rule: ``Token token=KEY`` for the API, ``routing_key`` in the body for events."""
    if asked.host == "events.pagerduty.com":
        assert not asked.values("authorization")
        return "" if asked.json()["routing_key"] == ROUTING_KEY else "Invalid routing key"
    return "" if asked.value("authorization") == f"Token token={TOKEN}" else "Invalid token"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/users":
            first = asked.parameter("offset") in ("", "0")
            users = [{"id": "P1" if first else "P2", "type": "user", "name": "Ada" if first else "Grace"}]
            return Answer(200, {"users": users, "more": first, "offset": 0 if first else 1, "limit": 1})
        case "POST", "/v2/enqueue":
            event = asked.json()
            assert event["payload"]["summary"] == "disk is full"
            return Answer(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})
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


def test_events_carry_the_integration_key_in_their_body(pki_of, vendor, proxied):
    import pagerduty

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers, refuse)
    service = {"secret": {"token": "pd/token", "routing_key": "pd/key"}, **loopback(double.port)}
    proxied(pki, {"pagerduty": service}, {"pd/token": TOKEN, "pd/key": ROUTING_KEY})
    client = pagerduty.EventsApiV2Client(PLACEHOLDER)
    key = client.trigger("disk is full", "host.example", dedup_key="disk")
    assert key == "disk"
    assert double.refused == []
