"""SigV4 beside botocore, byte for byte, with whatever requests hypothesis thinks of."""

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.auth.lab import field, outgoing
from tests.auth.test_sigv4 import ID, KEY, VALUES, signer

botocore_auth = pytest.importorskip("botocore.auth")
awsrequest = pytest.importorskip("botocore.awsrequest")
credentials = pytest.importorskip("botocore.credentials")

UNRESERVED = "-_.~"
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
SEGMENT = TEXT.map(lambda text: quote(text, safe=UNRESERVED)) | st.sampled_from(
    ["", ".", "..", "...", "%2F", "%2E", "%2f", "a+b", "(*)", "%25", "%20", "a%20b", "%C3%BC", "~", ".a", "a."]
)
NAME = st.text("abcXYZ019-_.~ +/:é%&=", max_size=8).map(lambda text: quote(text, safe=UNRESERVED))
PAIR = st.tuples(NAME, st.sampled_from(["", "=", "=b", "=%20", "=a%2Bb", "=B"]) | NAME.map("={}".format))
QUERY = st.lists(
    PAIR.map("".join) | st.sampled_from(["a=1", "a=0", "a", "", "A=1", "a-b=1", "a=b+c", "a/b=%7e", "a==", "%C3%bc=x"]),
    max_size=5,
).map("&".join)
LINE = st.text("ab cd\t;=,/", max_size=12)
HEADERS = st.dictionaries(
    st.sampled_from(["x-amz-meta-a", "x-amz-meta-b", "x-amz-acl", "content-type", "content-md5", "accept", "range"]),
    LINE,
    max_size=5,
)


@settings(max_examples=3000, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"]),
    segments=st.lists(SEGMENT, max_size=5),
    query=QUERY,
    headers=HEADERS,
    body=st.binary(max_size=64),
    is_s3=st.booleans(),
    is_unsigned=st.booleans(),
    token=st.booleans(),
)
def test_signatures_are_botocores(method, segments, query, headers, body, is_s3, is_unsigned, token):
    service = "s3" if is_s3 else "lambda"
    host = f"{service}.eu-central-1.amazonaws.com"
    target = "/" + "/".join(segments) + (f"?{query}" if query else "")
    said = dict(headers)
    if is_unsigned:
        said["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    sent = [(name.encode(), value.encode()) for name, value in said.items()]
    made = outgoing(method.encode(), host.encode(), target.encode(), sent, body)
    signer(token=token).sign(made, VALUES)

    signed = {name: value for name, value in said.items() if name.startswith(("x-amz-", "content-"))}
    signed |= {"X-Amz-Date": field(made, b"x-amz-date").decode(), "host": host}
    if is_s3:
        signed["x-amz-content-sha256"] = field(made, b"x-amz-content-sha256").decode()
    if token:
        signed["X-Amz-Security-Token"] = VALUES["aws/token"].decode()
    theirs = awsrequest.AWSRequest(method, f"https://{host}{made.path.decode()}", headers=signed, data=body)
    theirs.context["timestamp"] = signed["X-Amz-Date"]
    kind = botocore_auth.S3SigV4Auth if is_s3 else botocore_auth.SigV4Auth
    oracle = kind(credentials.Credentials(ID.decode(), KEY.decode()), service, "eu-central-1")
    signature = oracle.signature(oracle.string_to_sign(theirs, oracle.canonical_request(theirs)), theirs)
    assert field(made, b"authorization").endswith(b"Signature=" + signature.encode())
