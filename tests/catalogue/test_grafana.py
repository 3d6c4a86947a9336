"""Requests in the form that Grafana documents, through proxyd, to doubles of an instance and of Cloud's logs."""

import base64

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
STACK, LOGS = "acme.grafana.net", "logs-prod-012.grafana.net"
TOKEN = "glsa_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_0123abcd"
POLICY = "glc_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """An instance takes a bearer, and a cookie of a session would be asked first; Loki takes Basic of the instance."""
    if asked.host == LOGS:
        pair = base64.b64encode(f"123456:{POLICY}".encode()).decode()
        return "" if asked.value("authorization") == f"Basic {pair}" else "authentication error: invalid token"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" and not asked.values("cookie") else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/api/org":
            return Answer(200, {"id": 1, "name": "Acme"})
        case "POST", "/api/dashboards/db":
            return Answer(200, {"id": 7, "status": "success", "uid": asked.json()["dashboard"]["uid"]})
        case "POST", "/loki/api/v1/push":
            return Answer(204)
    return Answer(404, {"message": "Not found"})


def test_an_instance_takes_the_service_accounts_token(pki_of, vendor, proxied):
    import requests

    pki = pki_of(STACK)
    double = vendor(pki, check, answers)
    proxied(pki, {"grafana": {"secret": "g/token", **loopback(double.port, [STACK])}}, {"g/token": TOKEN})
    session = requests.Session()
    session.headers.update({"Authorization": f"Bearer {PLACEHOLDER}", "Cookie": "grafana_session=old"})
    assert session.get(f"https://{STACK}/api/org", timeout=20).json()["name"] == "Acme"
    dashboard = {"dashboard": {"uid": "disk", "title": "Disk"}, "overwrite": True}
    assert session.post(f"https://{STACK}/api/dashboards/db", json=dashboard, timeout=20).json()["uid"] == "disk"
    assert double.refused == []


def test_logs_take_the_instance_and_the_access_policys_token(pki_of, vendor, proxied):
    import requests

    pki = pki_of(LOGS)
    double = vendor(pki, check, answers)
    secret = {"instance": "g/instance", "token": "g/token"}
    service = {"secret": secret, "scheme": "telemetry", **loopback(double.port, [LOGS])}
    proxied(pki, {"grafana": service}, {"g/instance": "123456", "g/token": POLICY})
    streams = {"streams": [{"stream": {"job": "disk"}, "values": [["1", "full"]]}]}
    sent = requests.post(f"https://{LOGS}/loki/api/v1/push", json=streams, auth=("me", PLACEHOLDER), timeout=20)
    assert sent.status_code == 204
    assert double.refused == []


def test_a_wrong_token_is_the_vendors_to_refuse(pki_of, vendor, proxied):
    import requests

    pki = pki_of(STACK)
    double = vendor(pki, check, answers)
    proxied(pki, {"grafana": {"secret": "g/token", **loopback(double.port, [STACK])}}, {"g/token": "glsa_another"})
    assert requests.get(f"https://{STACK}/api/org", timeout=20).status_code == 401
