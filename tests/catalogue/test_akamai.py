"""Akamai's own signer with placeholders, through proxyd, to a double that checks by the same library."""

import re

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("edgegrid-python",)
AGAINST = "double"
HOST = "akab-h05tnam3wl42son7nktnlnnx-kbob3i3v.luna.akamaiapis.net"
KEYS = ("akab-client-token-0000", "c2VjcmV0LW9mLWEtY2xpZW50", "akab-access-token-0000")
NAMES = ("client_token", "client_secret", "access_token")


def check(asked):
    """Make the signature anew from what arrived, by Akamai's library."""
    import requests
    from akamai.edgegrid.edgegrid import EdgeGridAuth

    said = asked.value("authorization")
    found = re.search(r"timestamp=([^;]+);nonce=([^;]+);", said)
    if found is None:
        return "Invalid authorization"
    prepared = requests.Request(asked.method, f"https://{HOST}/").prepare()
    prepared.url, prepared.body = f"https://{HOST}{asked.target}", asked.body
    wanted = EdgeGridAuth(*KEYS).ah.make_auth_header(prepared, *found.groups())
    return "" if said == wanted else "The signature does not match"


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/identity-management/v3/api-clients/self":
            return Answer(200, {"clientName": "proxyd", "isLocked": False})
        case "POST", "/ccu/v3/invalidate/url/production":
            return Answer(201, {"httpStatus": 201, "purgeId": "p1", "detail": "Request accepted"})
    return Answer(404, {"title": "Not Found"})


def refuse(why):
    return Answer(401, {"type": "https://problems.luna.akamaiapis.net/-/pep-authn/deny", "title": why, "status": 401})


@pytest.mark.parametrize("secret", [KEYS[1], "YW5vdGhlci1zZWNyZXQ="], ids=["right", "wrong"])
def test_requests_that_the_library_signed_with_placeholders_are_signed_anew(pki_of, vendor, proxied, secret):
    import requests
    from akamai.edgegrid import EdgeGridAuth

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    service = {"secret": {name: f"a/{name}" for name in NAMES}, **loopback(double.port, [HOST])}
    values = dict(zip((f"a/{name}" for name in NAMES), (KEYS[0], secret, KEYS[2]), strict=True))
    proxied(pki, {"akamai": service}, values)
    session = requests.Session()
    session.auth = EdgeGridAuth(*[PLACEHOLDER] * 3)
    who = session.get(f"https://{HOST}/identity-management/v3/api-clients/self?actions=true", timeout=20)
    if secret != KEYS[1]:
        assert who.json()["title"] == "The signature does not match"
        return
    assert who.json()["clientName"] == "proxyd"
    purge = {"objects": ["https://www.example.com/a b"]}
    sent = session.post(f"https://{HOST}/ccu/v3/invalidate/url/production", json=purge, timeout=20)
    assert sent.json()["purgeId"] == "p1"
    assert double.refused == []
