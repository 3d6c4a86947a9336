"""Zabbix's own library with a placeholder, through proxyd, to doubles of a new server and one before 6.4."""

import urllib.request

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("zabbix-utils",)
AGAINST = "double"
HOST = "zabbix.corp.example"
TOKEN = "0123456789abcdef" * 4


def check(asked):
    """From 6.4 on a bearer; before, the member ``auth`` of each request; asking for the version wants neither."""
    said = asked.json()
    if said["method"] == "apiinfo.version":
        return ""
    if said.get("auth") is not None:
        return "" if said["auth"] == TOKEN and not asked.values("authorization") else "Not authorised."
    return "" if asked.value("authorization") == f"Bearer {TOKEN}" else "Not authorised."


def answers_of(version):
    def answers(asked):
        said = asked.json()
        results = {
            "apiinfo.version": version,
            "host.get": [{"hostid": "1", "host": "router"}],
            "user.checkAuthentication": {},
        }
        return Answer(200, {"jsonrpc": "2.0", "result": results[said["method"]], "id": said["id"]})

    return answers


def refuse(why):
    return Answer(
        200, {"jsonrpc": "2.0", "error": {"code": -32602, "message": "Invalid params.", "data": why}, "id": 1}
    )


@pytest.mark.parametrize("version", ["7.0.0", "6.0.0"])
@pytest.mark.parametrize("token", [TOKEN, "f" * 64], ids=["right", "wrong"])
def test_the_library_works_with_a_placeholder(pki_of, vendor, proxied, monkeypatch, version, token):
    from zabbix_utils import ZabbixAPI
    from zabbix_utils.exceptions import APIRequestError

    pki = pki_of(HOST)
    double = vendor(pki, check, answers_of(version), refuse)
    scheme = "token" if version == "7.0.0" else "member"
    service = {"secret": "z/token", "scheme": scheme, **loopback(double.port, [HOST])}
    proxied(pki, {"zabbix": service}, {"z/token": token})
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxy of the first request for good
    client = ZabbixAPI(url=f"https://{HOST}", timeout=20)
    client.login(token=PLACEHOLDER)
    if token != TOKEN:
        with pytest.raises(APIRequestError):
            client.host.get(output=["host"])
        return
    assert client.host.get(output=["host"])[0]["host"] == "router"
    assert double.refused == []
    assert PLACEHOLDER not in str([asked.body for asked in double.asked])
