"""New Relic's telemetry SDK and NerdGraph in its documented form, with placeholders, through proxyd, to doubles."""

import gzip
import json

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("newrelic-telemetry-sdk",)
AGAINST = "double"
HOSTS = ("api.newrelic.com", "metric-api.newrelic.com")
USER_KEY = "NRAK-AAAAAAAAAAAAAAAAAAAAAAAAAAA"
LICENSE_KEY = "0123456789abcdef0123456789abcdef0123NRAL"


def check(asked):
    """New Relic's rule: Api-Key, a user's for NerdGraph and a licence's for ingest; other fields must not differ."""
    wanted = USER_KEY if asked.host == "api.newrelic.com" else LICENSE_KEY
    strange = [name for name in ("x-license-key", "x-insert-key", "x-api-key") if asked.values(name)]
    return "" if asked.value("api-key") == wanted and not strange and not asked.query else "Invalid key"


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/metric/v1":
            return Answer(202, {"requestId": "r-1"})
        case "POST", "/graphql":
            return Answer(200, {"data": {"actor": {"user": {"name": "Ada"}}}})
    return Answer(404)


def lab(pki_of, vendor, proxied, license_key=LICENSE_KEY):
    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers, lambda why: Answer(403, {"error": why}))
    service = {"secret": {"user_key": "n/user", "license_key": "n/license"}, "scheme": "both", **loopback(double.port)}
    return double, proxied(pki, {"new-relic": service}, {"n/user": USER_KEY, "n/license": license_key})


def send(proxy):
    from newrelic_telemetry_sdk import GaugeMetric, MetricClient

    client = MetricClient(PLACEHOLDER, ca_certs=proxy.roots)
    try:
        return client.send_batch([GaugeMetric("disk.free", 3)])
    finally:
        client.close()


def test_metrics_go_with_the_licence_key(pki_of, vendor, proxied):
    double, proxy = lab(pki_of, vendor, proxied)
    assert send(proxy).status == 202
    (asked,) = double.asked
    body = gzip.decompress(asked.body) if asked.value("content-encoding") == "gzip" else asked.body
    assert json.loads(body)[0]["metrics"][0]["name"] == "disk.free"
    assert double.refused == []


def test_a_wrong_licence_key_is_refused_by_the_vendor(pki_of, vendor, proxied):
    _, proxy = lab(pki_of, vendor, proxied, "another-licence-key-000")
    assert send(proxy).status == 403


def test_nerdgraph_takes_the_users_key_and_leftovers_are_removed(pki_of, vendor, proxied):
    import requests

    double, _ = lab(pki_of, vendor, proxied)
    fields = {"Api-Key": PLACEHOLDER, "X-License-Key": "old"}
    query = {"query": "{ actor { user { name } } }"}
    answer = requests.post("https://api.newrelic.com/graphql?Api-Key=old", json=query, headers=fields, timeout=20)
    assert answer.json()["data"]["actor"]["user"]["name"] == "Ada"
    assert double.refused == []
