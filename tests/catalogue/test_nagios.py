"""Requests in their documented forms, through proxyd, to doubles of Nagios Core's CGI, of Nagios XI and of NRDP."""

import base64
import json

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
HOST = "nagios.corp.example"
USER, PASSWORD = "nagiosadmin", "p4ss-word-of-nagios"
APIKEY, NRDP = "A1b2" * 16, "token-of-nrdp-00"


def check(asked):
    """The web server's Basic for the CGI, ``apikey`` in XI's query, ``token`` in NRDP's form."""
    if asked.path.startswith("/nagiosxi/"):
        return "" if asked.parameter("apikey") == APIKEY else "Invalid API Key"
    if asked.path.startswith("/nrdp/"):
        return "" if asked.form().get("token") == NRDP and not asked.parameter("token") else "BAD TOKEN"
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return "" if asked.value("authorization") == f"Basic {pair}" else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/nagios/cgi-bin/statusjson.cgi":
            return Answer(200, {"result": {"type_text": "Success"}, "data": {"programcount": 1}})
        case "GET", "/nagiosxi/api/v1/objects/hoststatus":
            return Answer(200, {"recordcount": 1, "hoststatus": [{"host_name": "router"}]})
        case "POST", "/nrdp/":
            results = json.loads(asked.form()["json"])["checkresults"]
            return Answer(200, {"result": {"status": 0, "message": "OK", "meta": {"output": f"{len(results)} checks"}}})
    return Answer(404)


@pytest.fixture
def lab(pki_of, vendor, proxied):
    def make(**secrets):
        pki = pki_of(HOST)
        double = vendor(pki, check, answers)
        names = {field: f"n/{field.replace('_', '-')}" for field in secrets}
        service = {"secret": names, **loopback(double.port, [HOST])}
        proxied(pki, {"nagios": service}, {names[field]: value for field, value in secrets.items()})
        return double

    return make


@pytest.mark.parametrize("password", [PASSWORD, "another-password-00"], ids=["right", "wrong"])
def test_the_cgi_takes_the_web_servers_user(lab, password):
    import requests

    double = lab(user=USER, password=password)
    url = f"https://{HOST}/nagios/cgi-bin/statusjson.cgi?query=programcount"
    answer = requests.get(url, auth=("me", PLACEHOLDER), timeout=20)
    if password != PASSWORD:
        assert answer.status_code == 401
        return
    assert answer.json()["data"] == {"programcount": 1}
    assert double.refused == []


def test_xi_takes_its_key_in_the_query(lab):
    import requests

    double = lab(apikey=APIKEY)
    url = f"https://{HOST}/nagiosxi/api/v1/objects/hoststatus?apikey={PLACEHOLDER}&pretty=1"
    assert requests.get(url, timeout=20).json()["recordcount"] == 1
    assert double.asked[-1].parameter("pretty") == "1"
    assert double.refused == []


def test_nrdp_takes_its_token_in_the_form(lab):
    import requests

    double = lab(nrdp_token=NRDP)
    checks = {"checkresults": [{"checkresult": {"type": "host"}, "hostname": "router", "state": "0", "output": "ok"}]}
    form = {"token": PLACEHOLDER, "cmd": "submitcheck", "json": json.dumps(checks)}
    assert requests.post(f"https://{HOST}/nrdp/", form, timeout=20).json()["result"]["message"] == "OK"
    assert double.refused == []
