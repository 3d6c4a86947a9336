"""Fastly's own client with a placeholder, through proxyd, to a double of Fastly."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("fastly",)
AGAINST = "double"
HOST = "api.fastly.com"
TOKEN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """Fastly's rule: Fastly-Key."""
    return "" if asked.value("fastly-key") == TOKEN and not asked.values("authorization") else "Bad credentials"


def answers(asked):
    limits = {"fastly-ratelimit-remaining": "999", "fastly-ratelimit-reset": "1800000000"}
    match asked.method, asked.path:
        case "GET", "/public-ip-list":
            return Answer(200, {"addresses": ["192.0.2.0/24"], "ipv6_addresses": []})
        case "POST", "/service/S1/purge/key":
            return Answer(200, {"status": "ok", "id": "108-1"}, limits)
        case "GET", "/tokens/self":
            token = {"id": "t1", "name": "proxyd", "user_id": "u1", "customer_id": "c1", "scope": "global"}
            return Answer(200, token, limits)
    return Answer(404, {"msg": "Record not found", "detail": "not here"})


def refuse(why):
    return Answer(401, {"msg": "Provided credentials are missing or invalid", "detail": why})


@pytest.mark.parametrize("token", [TOKEN, "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"], ids=["right", "wrong"])
def test_the_client_works_with_a_placeholder(pki_of, vendor, proxied, token):
    import fastly
    from fastly.api import purge_api, tokens_api

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    proxy = proxied(pki, {"fastly": {"secret": "f/token", **loopback(double.port)}}, {"f/token": token})
    configuration = fastly.Configuration()
    configuration.api_token = PLACEHOLDER
    configuration.proxy, configuration.ssl_ca_cert = proxy.url, proxy.roots
    with fastly.ApiClient(configuration) as client:
        if token != TOKEN:
            with pytest.raises(fastly.ApiException, match="401"):
                tokens_api.TokensApi(client).get_token_current()
            return
        assert tokens_api.TokensApi(client).get_token_current().name == "proxyd"
        assert purge_api.PurgeApi(client).purge_tag(service_id="S1", surrogate_key="key").status == "ok"
    assert double.refused == []
