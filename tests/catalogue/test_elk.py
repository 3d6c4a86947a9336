"""Elastic's own client with a placeholder, through proxyd, to a double of Elasticsearch."""

import base64

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("elasticsearch",)
AGAINST = "double"
HOST = "es.corp.example"
KEY = base64.b64encode(b"VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw").decode()
USER, PASSWORD = "ada", "p4ss-word-of-elastic"


def check(asked):
    """Elasticsearch's rule: ApiKey, or Basic; a field that runs the request as somebody else is none of ours."""
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    strange = asked.values("es-security-runas-user") or asked.values("es-secondary-authorization")
    return "" if asked.value("authorization") in (f"ApiKey {KEY}", f"Basic {pair}") and not strange else "missing"


PRODUCT = {"x-elastic-product": "Elasticsearch"}


def answers(asked):
    form = asked.value("accept") or "application/json"
    fields = {**PRODUCT, "content-type": form.partition(",")[0]}
    match asked.method, asked.path:
        case "GET", "/":
            version = {"number": "9.0.0", "build_flavor": "default"}
            return Answer(200, {"name": "n", "cluster_name": "c", "version": version}, fields)
        case "POST", "/logs/_doc":
            return Answer(201, {"_index": "logs", "_id": "1", "result": "created"}, fields)
        case "POST", "/logs/_search":
            return Answer(200, {"hits": {"total": {"value": 1}, "hits": []}}, fields)
    return Answer(404, {"error": "not here"}, fields)


def refuse(why):
    error = {"type": "security_exception", "reason": why}
    return Answer(401, {"error": error, "status": 401}, {**PRODUCT, "content-type": "application/json"})


@pytest.mark.parametrize(
    ("secret", "values"),
    [
        ({"api_key": "e/key"}, {"e/key": KEY}),
        ({"user": "e/user", "password": "e/password"}, {"e/user": USER, "e/password": PASSWORD}),
        ({"api_key": "e/key"}, {"e/key": base64.b64encode(b"another:key-altogether").decode()}),
    ],
    ids=["key", "password", "wrong"],
)
def test_the_client_works_with_a_placeholder(pki_of, vendor, proxied, secret, values):
    import elasticsearch

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    proxy = proxied(pki, {"elk": {"secret": secret, **loopback(double.port, [f"{HOST}:9200"])}}, values)
    # Of its ways to send, the one by requests alone looks at the proxy's variables.
    client = elasticsearch.Elasticsearch(
        f"https://{HOST}:9200", api_key=PLACEHOLDER, node_class="requests", ca_certs=proxy.roots, max_retries=0
    )
    with client:
        if "another" in base64.b64decode(values.get("e/key", "")).decode():
            with pytest.raises(elasticsearch.AuthenticationException):
                client.info()
            return
        assert client.info()["version"]["number"] == "9.0.0"
        runs_as = client.options(headers={"es-security-runas-user": "root"})
        assert runs_as.index(index="logs", document={"message": "disk is full"})["result"] == "created"
        assert client.search(index="logs", query={"match_all": {}})["hits"]["total"]["value"] == 1
    assert double.refused == []
