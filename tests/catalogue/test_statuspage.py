"""Requests in the form that Statuspage documents, through proxyd, to a double of it."""

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
HOST = "api.statuspage.io"
KEY = "01234567-89ab-cdef-0123-456789abcdef"


def check(asked):
    """Statuspage's rule: ``OAuth`` before the key; https://developer.statuspage.io/#section/Authentication."""
    return "" if asked.value("authorization") == f"OAuth {KEY}" and not asked.parameter("api_key") else "unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/v1/pages":
            return Answer(200, [{"id": "p1", "name": "Acme"}])
        case "POST", "/v1/pages/p1/incidents":
            return Answer(201, {"id": "i1", **asked.json()["incident"]})
    return Answer(404, {"error": "not found"})


def test_requests_with_placeholders_arrive_with_the_key(pki_of, vendor, proxied):
    import requests

    pki = pki_of(HOST)
    double = vendor(pki, check, answers)
    proxied(pki, {"statuspage": {"secret": "s/key", **loopback(double.port)}}, {"s/key": KEY})
    fields = {"Authorization": f"OAuth {PLACEHOLDER}"}
    listed = requests.get(f"https://{HOST}/v1/pages?api_key={PLACEHOLDER}", headers=fields, timeout=20)
    assert listed.json()[0]["name"] == "Acme"
    incident = {"incident": {"name": "Disk is full", "status": "investigating"}}
    made = requests.post(f"https://{HOST}/v1/pages/p1/incidents", json=incident, headers=fields, timeout=20)
    assert made.json() == {"id": "i1", "name": "Disk is full", "status": "investigating"}
    assert double.refused == []


def test_a_wrong_key_is_the_vendors_to_refuse(pki_of, vendor, proxied):
    import requests

    pki = pki_of(HOST)
    double = vendor(pki, check, answers)
    proxied(pki, {"statuspage": {"secret": "s/key", **loopback(double.port)}}, {"s/key": "another-key-0000"})
    answer = requests.get(f"https://{HOST}/v1/pages", timeout=20)
    assert (answer.status_code, answer.json()) == (401, {"message": "unauthorized"})
