"""Requests in the form that the Publisher API documents, through proxyd, to a double of it."""

import base64

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("requests in the documented form",)
AGAINST = "double"
HOSTS = ("central.sonatype.com", "ossrh-staging-api.central.sonatype.com")
USER, PASSWORD = "AAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"


def check(asked):
    """Bearer with the pair in base64 for the Publisher API, Basic for the staging API that Maven's plugins use.

    https://central.sonatype.org/publish/publish-portal-api/#authentication-authorization
    """
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    word = "Bearer" if asked.path.startswith("/api/") else "Basic"
    return "" if asked.value("authorization") == f"{word} {pair}" else "Unauthorized"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/api/v1/publisher/upload":
            assert b"PK" in asked.body
            return Answer(201, "28570f16-da32-4c14-bd2e-c1acc0782365", {"content-type": "text/plain"})
        case "POST", "/api/v1/publisher/status":
            return Answer(200, {"deploymentState": "PUBLISHED"})
        case "PUT", "/service/local/staging/deploy/maven2/org/acme/tool/1.0/tool-1.0.pom":
            return Answer(201)
    return Answer(404)


@pytest.mark.parametrize("password", [PASSWORD, "C" * 44], ids=["right", "wrong"])
def test_deployments_with_placeholders_arrive_with_the_user_token(pki_of, vendor, proxied, password):
    import requests

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers)
    service = {"secret": {"user": "m/user", "password": "m/password"}, **loopback(double.port)}
    proxied(pki, {"maven-central": service}, {"m/user": USER, "m/password": password})
    fields = {"Authorization": f"Bearer {PLACEHOLDER}"}
    bundle = {"bundle": ("central-bundle.zip", b"PK\x05\x06" + bytes(18))}
    api = f"https://{HOSTS[0]}/api/v1/publisher"
    made = requests.post(f"{api}/upload?name=tool", files=bundle, headers=fields, timeout=20)
    if password != PASSWORD:
        assert made.status_code == 401
        return
    state = requests.post(f"{api}/status?id={made.text}", headers=fields, timeout=20)
    assert state.json()["deploymentState"] == "PUBLISHED"
    pom = f"https://{HOSTS[1]}/service/local/staging/deploy/maven2/org/acme/tool/1.0/tool-1.0.pom"
    assert requests.put(pom, data=b"<project/>", auth=("me", PLACEHOLDER), timeout=20).status_code == 201
    assert double.refused == []
