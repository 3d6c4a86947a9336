"""sentry-sdk with a placeholder in its DSN, and the web API in its documented form, through proxyd, to doubles."""

import gzip
import json

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("sentry-sdk",)
AGAINST = "double"
INGEST = "o42.ingest.de.sentry.io"
API = "de.sentry.io"
KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "sntrys_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """Relay looks for the key of the project in X-Sentry-Auth; the web API takes a bearer."""
    if asked.host == INGEST:
        said = dict(
            part.strip().split("=", 1) for part in asked.value("x-sentry-auth").removeprefix("Sentry").split(",")
        )
        return "" if said["sentry_key"] == KEY and asked.path.startswith("/api/7/") else "bad sentry DSN public key"
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" and not asked.values("cookie") else "Invalid token"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/api/7/envelope/":
            return Answer(200, {"id": "1"})
        case "GET", "/api/0/projects/":
            return Answer(200, [{"slug": "tool"}])
    return Answer(404, {"detail": "not here"})


def test_events_carry_the_projects_key(pki_of, vendor, proxied):
    import sentry_sdk

    pki = pki_of(INGEST)
    double = vendor(pki, check, answers)
    service = {"secret": {"dsn": "s/dsn"}, **loopback(double.port, [INGEST])}
    proxy = proxied(pki, {"sentry": service}, {"s/dsn": f"https://{KEY}@{INGEST}/7"})
    placeholder = "0" * 32
    client = sentry_sdk.Client(
        dsn=f"https://{placeholder}@{INGEST}/7",
        https_proxy=proxy.url,
        ca_certs=proxy.roots,
        default_integrations=False,
        _experiments={"transport_compression_algo": "gzip"},
    )
    client.capture_event({"message": "disk is full"})
    client.close(timeout=20)
    assert double.refused == []
    (asked,) = double.asked
    body = gzip.decompress(asked.body) if asked.value("content-encoding") == "gzip" else asked.body
    assert json.loads(body.splitlines()[2])["message"] == "disk is full"
    assert placeholder not in str(asked.headers)


def test_the_web_api_takes_its_token(pki_of, vendor, proxied):
    import requests

    pki = pki_of(API)
    double = vendor(pki, check, answers)
    proxied(pki, {"sentry": {"secret": {"token": "s/token"}, **loopback(double.port)}}, {"s/token": TOKEN})
    fields = {"Authorization": f"Bearer {PLACEHOLDER}", "Cookie": "sentrysid=old"}
    assert requests.get(f"https://{API}/api/0/projects/", headers=fields, timeout=20).json() == [{"slug": "tool"}]
    assert double.refused == []
