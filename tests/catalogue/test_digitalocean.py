"""pydo with a placeholder, through proxyd, to a double of DigitalOcean."""

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("pydo",)
AGAINST = "double"
HOST = "api.digitalocean.com"
TOKEN = "dop_v1_" + "ab" * 32


def check(asked):
    """DigitalOcean's rule: a bearer."""
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "Unable to authenticate you"


def answers(asked):
    limits = {"ratelimit-limit": "5000", "ratelimit-remaining": "4999", "ratelimit-reset": "1800000000"}
    match asked.method, asked.path:
        case "GET", "/v2/account":
            return Answer(200, {"account": {"email": "ada@example.com", "status": "active"}}, limits)
        case "POST", "/v2/droplets":
            return Answer(202, {"droplet": {"id": 7, "name": asked.json()["name"]}}, limits)
    return Answer(404, {"id": "not_found", "message": "not here"}, limits)


def test_the_sdk_works_with_a_placeholder(pki_of, vendor, proxied):
    from pydo import Client

    pki = pki_of(HOST)
    double = vendor(pki, check, answers)
    proxied(pki, {"digitalocean": {"secret": {"token": "do/token"}, **loopback(double.port)}}, {"do/token": TOKEN})
    client = Client(token=PLACEHOLDER)
    assert client.account.get()["account"]["status"] == "active"
    asked = {"name": "web-1", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
    assert client.droplets.create(body=asked)["droplet"]["id"] == 7
    assert double.refused == []
