"""Alibaba's own signers with placeholders, through proxyd, to a double that checks by the same libraries."""

import hashlib
from urllib.parse import parse_qsl

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("aliyun-python-sdk-core",)
AGAINST = "double"
HOST = "ecs.eu-central-1.aliyuncs.com"
KEY_ID, KEY = "LTAI5tAAAAAAAAAAAAAAAAAA", "secret-of-an-access-key-000000"


def check(asked):
    """RPC: Signature in the query, over query and form. ACS3: Authorization. Made anew by Alibaba's own library."""
    from alibabacloud_openapi_util.client import Client
    from Tea.request import TeaRequest

    if asked.values("authorization"):
        body = hashlib.sha256(asked.body).hexdigest()
        if asked.value("x-acs-content-sha256") != body:
            return "SignatureDoesNotMatch"
        theirs = TeaRequest()
        theirs.method, theirs.pathname, theirs.query = asked.method, asked.path, dict(asked.query)
        signed = asked.value("authorization").partition("SignedHeaders=")[2].partition(",")[0].split(";")
        if not {"host", *(name for name, _ in asked.headers if name.startswith("x-acs-"))} <= set(signed):
            return "SignatureDoesNotMatch"
        theirs.headers = {name: asked.value(name) for name in signed}
        wanted = Client.get_authorization(theirs, "ACS3-HMAC-SHA256", body, KEY_ID, KEY)
        return "" if asked.value("authorization") == wanted else "SignatureDoesNotMatch"
    parameters = dict(asked.query) | dict(parse_qsl(asked.body.decode()))
    said = parameters.pop("Signature", "")
    wanted = Client.get_rpcsignature(parameters, asked.method, KEY)
    return "" if said == wanted and parameters["AccessKeyId"] == KEY_ID else "SignatureDoesNotMatch"


def answers(asked):
    action = asked.value("x-acs-action") or dict(asked.query).get("Action")
    if action == "DescribeRegions":
        return Answer(200, {"RequestId": "r-1", "Regions": {"Region": [{"RegionId": "eu-central-1"}]}})
    return Answer(404, {"Code": "InvalidAction.NotFound", "Message": "not here", "RequestId": "r-2"})


def refuse(why):
    return Answer(400, {"Code": why, "Message": "Not matched; server string to sign is:GET", "RequestId": "r-3"})


@pytest.fixture
def lab(pki_of, vendor, proxied):
    def make(key):
        pki = pki_of(HOST)
        double = vendor(pki, check, answers, refuse)
        secret = {"access_key_id": "a/id", "access_key_secret": "a/key"}
        service = {"secret": secret, "options": {"region": "eu-central-1"}, **loopback(double.port)}
        return double, proxied(pki, {"alibaba": service}, {"a/id": KEY_ID, "a/key": key})

    return make


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("key", [KEY, "another-secret-of-a-key-000000"], ids=["right", "wrong"])
def test_calls_that_the_sdk_signed_with_placeholders_are_signed_anew(lab, key):
    from aliyunsdkcore.acs_exception.exceptions import ServerException
    from aliyunsdkcore.client import AcsClient
    from aliyunsdkcore.request import CommonRequest

    double, proxy = lab(key)
    client = AcsClient(PLACEHOLDER, PLACEHOLDER, "eu-central-1", verify=proxy.roots, auto_retry=False)
    call = CommonRequest(domain=HOST, version="2014-05-26", action_name="DescribeRegions")
    call.set_protocol_type("https")
    call.set_method("POST")
    call.add_query_param("AcceptLanguage", "de DE")
    call.add_body_params("ResourceType", "instance")
    if key != KEY:
        with pytest.raises(ServerException, match="SignatureDoesNotMatch"):
            client.do_action_with_exception(call)
        return
    assert b"eu-central-1" in client.do_action_with_exception(call)
    assert double.refused == []


def test_a_call_of_version_3_is_signed_in_its_head(lab):
    import requests

    double, _ = lab(KEY)
    fields = {
        "x-acs-action": "DescribeRegions",
        "x-acs-version": "2014-05-26",
        "Authorization": f"ACS3-HMAC-SHA256 Credential={PLACEHOLDER},SignedHeaders=host,Signature=00",
    }
    answer = requests.post(f"https://{HOST}/?AcceptLanguage=de", json={"a": 1}, headers=fields, timeout=20)
    assert answer.json()["RequestId"] == "r-1"
    assert double.refused == []
