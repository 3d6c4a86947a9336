"""Splunk's own SDK with a placeholder, and the collector in its documented form, through proxyd, to doubles."""

import http.client
import ssl
from urllib.parse import urlsplit

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("splunk-sdk",)
AGAINST = "double"
HOST = "splunk.corp.example"
TOKEN, HEC = "eyJraWQiOiJzcGx1bmsuc2VjcmV0In0.e30.AAAA", "01234567-89ab-cdef-0123-456789abcdef"
ATOM = '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:s="http://dev.splunk.com/ns/rest"><title>t</title><id>i</id>{}</feed>'
VERSION = '<s:dict><s:key name="version">9.4.0</s:key></s:dict>'
INFO = f'<entry><title>server-info</title><id>i</id><content type="text/xml">{VERSION}</content></entry>'


def check(asked):
    """Management takes a bearer, the collector ``Splunk`` and its own token."""
    wanted = f"Splunk {HEC}" if asked.path.startswith("/services/collector") else f"Bearer {TOKEN}"
    return (
        ""
        if asked.value("authorization") == wanted and not asked.values("cookie")
        else "call not properly authenticated"
    )


def answers(asked):
    match asked.method, asked.path:
        case "GET", "/services/server/info" | "/services/server/info/":
            return Answer(200, ATOM.format(INFO), {"content-type": "text/xml"})
        case "POST", "/services/collector/event":
            return Answer(200, {"text": "Success", "code": 0})
    return Answer(404, "<response><messages><msg type='ERROR'>Not Found</msg></messages></response>")


def refuse(why):
    return Answer(401, f'<response><messages><msg type="WARN">{why}</msg></messages></response>')


def through(proxy):
    """The SDK has no proxy of its own; its documentation has a handler take that part."""

    def handler(url, message, **_):
        place, target = urlsplit(proxy.url), urlsplit(url)
        context = ssl.create_default_context(cafile=proxy.roots)
        connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=20, context=context)
        connection.set_tunnel(target.hostname, target.port)
        path = target.path + (f"?{target.query}" if target.query else "")
        connection.request(message["method"], path, message.get("body"), dict(message["headers"]))
        answer = connection.getresponse()
        return {"status": answer.status, "reason": answer.reason, "headers": answer.getheaders(), "body": answer}

    return handler


@pytest.mark.parametrize("token", [TOKEN, "eyJraWQiOiJzcGx1bmsuc2VjcmV0In0.e30.BBBB"], ids=["right", "wrong"])
def test_the_sdk_works_with_a_placeholder(pki_of, vendor, proxied, token):
    from splunklib import binding, client

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    service = {"secret": {"token": "s/token"}, **loopback(double.port, [f"{HOST}:8089"])}
    proxy = proxied(pki, {"splunk": service}, {"s/token": token})
    splunk = client.Service(host=HOST, port=8089, splunkToken=PLACEHOLDER, handler=through(proxy))
    splunk.login()
    if token != TOKEN:
        with pytest.raises(binding.AuthenticationError):
            splunk.get("server/info")
        return
    assert b"9.4.0" in splunk.get("server/info")["body"].read()
    assert double.refused == []


def test_the_collector_takes_its_own_token(pki_of, vendor, proxied):
    import requests

    pki = pki_of(HOST)
    double = vendor(pki, check, answers, refuse)
    secret = {"token": "s/token", "hec_token": "s/hec"}
    service = {"secret": secret, "scheme": "token_and_hec", **loopback(double.port, [f"{HOST}:8088"])}
    proxied(pki, {"splunk": service}, {"s/token": TOKEN, "s/hec": HEC})
    fields = {"Authorization": f"Splunk {PLACEHOLDER}"}
    event = {"event": "disk is full", "sourcetype": "manual"}
    sent = requests.post(f"https://{HOST}:8088/services/collector/event", json=event, headers=fields, timeout=20)
    assert sent.json() == {"text": "Success", "code": 0}
    assert double.refused == []
