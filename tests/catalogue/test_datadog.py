"""Datadog's own library with placeholders, through proxyd, to a double of Datadog in the EU."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("datadog",)
AGAINST = "double"
HOST = "api.datadoghq.eu"
API_KEY, APP_KEY = "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef01234567"


def check(asked):
    """Datadog's rule: both keys as header fields; the API key alone where data is sent."""
    if asked.value("dd-api-key") != API_KEY or asked.parameter("api_key"):
        return "Forbidden"
    is_intake = asked.path in ("/api/v1/series", "/api/v1/distribution_points")
    return "" if is_intake or asked.value("dd-application-key") == APP_KEY else "Forbidden"


def answers(asked):
    limits = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99", "x-ratelimit-reset": "10"}
    match asked.method, asked.path:
        case "POST", "/api/v1/series":
            return Answer(202, {"status": "ok"})
        case "GET", "/api/v1/monitor":
            return Answer(200, [{"id": 1, "name": "Disk", "type": "metric alert"}], limits)
    return Answer(404, {"errors": ["Not found"]})


def refuse(why):
    return Answer(403, {"errors": [why]})


@pytest.fixture
def lab(pki_of, vendor, proxied):
    def make(api_key):
        pki = pki_of(HOST)
        double = vendor(pki, check, answers, refuse)
        secret = {"api_key": "d/api", "app_key": "d/app"}
        service = {"secret": secret, "options": {"site": "datadoghq.eu"}, **loopback(double.port)}
        proxied(pki, {"datadog": service}, {"d/api": api_key, "d/app": APP_KEY})
        return double

    return make


@pytest.mark.parametrize("api_key", [API_KEY, "f" * 32], ids=["right", "wrong"])
def test_the_library_works_with_placeholders(lab, api_key):
    import datadog

    double = lab(api_key)
    datadog.initialize(api_key=PLACEHOLDER, app_key=PLACEHOLDER, api_host=f"https://{HOST}", mute=False)
    if api_key != API_KEY:
        with pytest.raises(datadog.api.exceptions.ApiError, match="Forbidden"):
            datadog.api.Monitor.get_all()
        return
    assert datadog.api.Metric.send(metric="disk.free", points=3)["status"] == "ok"
    assert datadog.api.Monitor.get_all()[0]["name"] == "Disk"
    assert double.refused == []


def test_keys_in_the_query_are_removed(lab):
    import requests

    double = lab(API_KEY)
    answer = requests.get(f"https://{HOST}/api/v1/monitor?api_key=old&application_key=old&page=1", timeout=20)
    assert answer.json()[0]["id"] == 1
    assert double.asked[-1].query == [("page", "1")]
