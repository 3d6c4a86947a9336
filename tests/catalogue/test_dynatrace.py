"""Requests in the form that Dynatrace documents, through proxyd, to a double of an environment."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
HOST = "abc12345.live.dynatrace.com"
TOKEN = "dt0c01.ST2EY72KQINMH574WMNVI7YN.G3DFPBEJYMODIDAEX454M7YWBUVEFOWKPRVMWFASS64NFH52PX6BNDVFFM572RZM"


def check(asked):
    """Dynatrace's rule: ``Api-Token`` before the token, and no other one in the query."""
    said = asked.value("authorization") == f"Api-Token {TOKEN}"
    return "" if said and not asked.parameter("Api-Token") else "Token Authentication failed"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/api/v2/metrics":
            return Answer(200, {"totalCount": 1, "metrics": [{"metricId": "builtin:host.disk.free"}]})
        case "POST", "/api/v2/metrics/ingest":
            return Answer(202, {"linesOk": len(asked.body.splitlines()), "linesInvalid": 0, "error": None})
    return Answer(404, {"error": {"code": 404, "message": "not here"}})


def refuse(why):
    return Answer(401, {"error": {"code": 401, "message": why}})


@pytest.mark.parametrize("token", [TOKEN, "dt0c01.ANOTHER.TOKEN"], ids=["right", "wrong"])
def test_requests_with_placeholders_arrive_with_the_token(pki_of, vendor, proxied, token):
    import requests

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    proxied(pki, {"dynatrace": {"secret": {"token": "d/token"}, **loopback(double.port, [HOST])}}, {"d/token": token})
    fields = {"Authorization": f"Api-Token {PLACEHOLDER}"}
    listed = requests.get(f"https://{HOST}/api/v2/metrics?pageSize=1&Api-Token=old", headers=fields, timeout=20)
    if token != TOKEN:
        assert listed.json()["error"]["message"] == "Token Authentication failed"
        return
    assert listed.json()["metrics"][0]["metricId"] == "builtin:host.disk.free"
    lines = {"Content-Type": "text/plain; charset=utf-8", **fields}
    sent = requests.post(
        f"https://{HOST}/api/v2/metrics/ingest", data="disk.free 3\ncpu 1\n", headers=lines, timeout=20
    )
    assert sent.json()["linesOk"] == 2
    assert double.refused == []
