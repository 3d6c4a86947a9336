"""Alibaba's two signatures against its own library, and what was recorded of it."""

import base64
import hmac
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth.alibaba import rpc_text
from proxyd.auth.registry import compile as compile_auth
from proxyd.core.service import Auth
from tests.auth.lab import field, outgoing

ID, KEY = b"LTAI-example", b"secret-of-an-access-key"
VALUES = {"a/id": ID, "a/key": KEY, "a/token": b"sts-token"}
HOST = b"ecs.cn-shanghai.aliyuncs.com"
ACS3 = [(b"x-acs-action", b"DescribeRegions"), (b"x-acs-version", b"2014-05-26")]


def signer(*, token=False):
    secrets = [("access_key_id", "a/id"), ("access_key_secret", "a/key")]
    return compile_auth(Auth("alibaba", secrets=(*secrets, *([("security_token", "a/token")] if token else []))))


def test_the_documented_text_of_an_rpc_call():
    """https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism."""
    parameters = {
        "Timestamp": "2016-02-23T12:46:24Z", "Format": "XML", "AccessKeyId": "testid", "Action": "DescribeRegions",
        "SignatureMethod": "HMAC-SHA1", "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "Version": "2014-05-26", "SignatureVersion": "1.0",
    }  # fmt: skip
    text = rpc_text("GET", list(parameters.items()))
    signature = base64.b64encode(hmac.digest(b"testsecret&", text, "sha1"))
    assert signature == b"OLeaidS1JvxuMvnyHOwuJ+uX5qY="


def test_the_clients_own_signature_goes():
    own = [
        *ACS3,
        (b"authorization", b"ACS3-HMAC-SHA256 old"),
        (b"x-acs-date", b"old"),
        (b"x-acs-signature-nonce", b"old"),
    ]
    made = outgoing(b"POST", HOST, b"/", own)
    signer(token=True).sign(made, VALUES)
    assert field(made, b"authorization").startswith(
        b"ACS3-HMAC-SHA256 Credential=LTAI-example,SignedHeaders=host;x-acs-"
    )
    assert field(made, b"x-acs-date") == b"2015-08-30T12:36:00Z"
    assert field(made, b"x-acs-security-token") == b"sts-token"
    assert b"old" not in b"".join(value for _, value in made.headers)


def test_an_rpc_call_is_signed_in_its_query_and_its_form_stays():
    path = b"/?Action=DescribeRegions&Signature=old&AccessKeyId=placeholder&Timestamp=old&Version=2014-05-26"
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    made = outgoing(b"POST", HOST, path, form, b"RegionId=cn+x&Signature=old")
    signer(token=True).sign(made, VALUES)
    asked = parse_qsl(made.path.partition(b"?")[2].decode())
    assert [name for name, _ in asked].count("Signature") == 1
    assert dict(asked)["AccessKeyId"] == ID.decode()
    assert dict(asked)["SecurityToken"] == "sts-token"
    assert made.body == b"RegionId=cn%20x"
    signed = [(name, value) for name, value in asked if name != "Signature"] + [("RegionId", "cn x")]
    expected = base64.b64encode(hmac.digest(KEY + b"&", rpc_text("POST", signed), "sha1")).decode()
    assert dict(asked)["Signature"] == expected


def test_a_request_that_names_no_action_is_refused_with_words():
    with pytest.raises(ValueError, match="x-acs-action"):
        signer().sign(outgoing(b"GET", HOST, b"/"), VALUES)


NAMES = st.text("abcXYZ-_.~", min_size=1, max_size=6)


@settings(max_examples=400, deadline=None)
@given(
    query=st.dictionaries(NAMES, st.text("abc +/é%&=*", max_size=6), max_size=4),
    body=st.binary(max_size=60),
    token=st.booleans(),
)
def test_signatures_of_acs3_are_alibabas(query, body, token):
    client = pytest.importorskip("alibabacloud_openapi_util.client").Client
    models = pytest.importorskip("Tea.request")
    target = "/?" + urlencode(query, quote_via=quote, safe="~") if query else "/"
    made = outgoing(b"POST", HOST, target.encode(), [*ACS3, (b"content-type", b"application/json")], body)
    signer(token=token).sign(made, VALUES)
    theirs = models.TeaRequest()
    theirs.method, theirs.pathname, theirs.query = "POST", "/", query
    theirs.headers = {name.decode(): value.decode() for name, value in made.headers if name != b"authorization"}
    theirs.headers["host"] = HOST.decode()
    payload = field(made, b"x-acs-content-sha256").decode()
    said = client.get_authorization(theirs, "ACS3-HMAC-SHA256", payload, ID.decode(), KEY.decode())
    assert field(made, b"authorization").decode() == said


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, st.text("abc +/é%&=*", max_size=6), max_size=4))
def test_signatures_of_rpc_are_alibabas(query):
    client = pytest.importorskip("alibabacloud_openapi_util.client").Client
    target = "/?" + urlencode({"Action": "X", **query}, quote_via=quote, safe="~")
    made = outgoing(b"GET", HOST, target.encode())
    signer().sign(made, VALUES)
    asked = dict(parse_qsl(made.path.partition(b"?")[2].decode(), keep_blank_values=True))
    signature = asked.pop("Signature")
    assert client.get_rpcsignature(asked, "GET", KEY.decode()) == signature
