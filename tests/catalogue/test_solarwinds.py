"""orionsdk with placeholders, through proxyd, to a double of SWIS; and Observability in its documented form."""

import base64

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("orionsdk",)
AGAINST = "double"
ORION = "orion.corp.example"
CLOUD = "api.eu-01.cloud.solarwinds.com"
USER, PASSWORD, TOKEN = "proxyd", "p4ss-word-of-orion", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """SWIS takes Basic of an Orion account; Observability takes a bearer."""
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    wanted = f"Basic {pair}" if asked.host == ORION else f"Bearer {TOKEN}"
    return "" if asked.value("authorization") == wanted else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/SolarWinds/InformationService/v3/Json/Query":
            assert "SELECT" in asked.json()["query"]
            return Answer(200, {"results": [{"NodeID": 1, "Caption": "router"}]})
        case "GET", "/v1/metadata/entities/types":
            return Answer(200, {"types": ["Host"]})
    return Answer(404, {"message": "not here"})


def test_the_sdk_works_with_placeholders(pki_of, vendor, proxied):
    import orionsdk

    pki = pki_of(ORION)
    double = vendor(pki, check, answers)
    service = {"secret": {"user": "o/user", "password": "o/password"}, **loopback(double.port, [f"{ORION}:17774"])}
    proxy = proxied(pki, {"solarwinds": service}, {"o/user": USER, "o/password": PASSWORD})
    client = orionsdk.SwisClient(ORION, "me", PLACEHOLDER, port=17774, verify=proxy.roots)
    assert client.query("SELECT NodeID, Caption FROM Orion.Nodes")["results"][0]["Caption"] == "router"
    assert double.refused == []


def test_observability_takes_its_token_in_the_region_that_is_named(pki_of, vendor, proxied):
    import requests

    pki = pki_of(CLOUD)
    double = vendor(pki, check, answers)
    service = {"secret": {"token": "o/token"}, "options": {"region": "eu-01"}, **loopback(double.port)}
    proxied(pki, {"solarwinds": service}, {"o/token": TOKEN})
    fields = {"Authorization": f"Bearer {PLACEHOLDER}"}
    answer = requests.get(f"https://{CLOUD}/v1/metadata/entities/types", headers=fields, timeout=20)
    assert answer.json()["types"] == ["Host"]
    assert double.refused == []
