"""SigV4 against AWS's published examples and, where it is installed, botocore."""

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.auth.registry import compile as compile_auth
from proxyd.auth.sigv4_host import signed_for
from proxyd.core.exchange import BodyUse
from proxyd.core.message import BytesBody, Response
from proxyd.core.service import Auth
from tests.auth.lab import MOMENT, field, outgoing, request

ID, KEY = b"AKIDEXAMPLE", b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SQS = "sqs.eu-central-1.amazonaws.com"
VALUES = {"aws/id": ID, "aws/key": KEY, "aws/token": b"session-token-of-an-hour=="}


def signer(*, token=False, **options):
    secrets = [("access_key_id", "aws/id"), ("secret_access_key", "aws/key")]
    if token:
        secrets.append(("session_token", "aws/token"))
    return compile_auth(Auth("sigv4", secrets=tuple(secrets), options=tuple(options.items())))


def test_the_published_example_of_iam():
    made = outgoing(
        b"GET",
        b"iam.amazonaws.com",
        b"/?Action=ListUsers&Version=2010-05-08",
        [(b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")],
    )
    signer().sign(made, VALUES)
    assert field(made, b"authorization") == (
        b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        b"SignedHeaders=content-type;host;x-amz-date, "
        b"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_what_the_client_signed_goes_and_says_for_what_to_sign():
    old = (
        b"AWS4-HMAC-SHA256 Credential=PLACEHOLDER/20200101/ap-south-1/s3/aws4_request, SignedHeaders=host, Signature=00"
    )
    own = [(b"authorization", old), (b"x-amz-date", b"20200101T000000Z"), (b"x-amz-security-token", b"old")]
    made = outgoing(b"GET", b"minio.example:9000", b"/bucket/key", own)
    signer(token=True).sign(made, VALUES)
    assert b"/ap-south-1/s3/aws4_request" in field(made, b"authorization")
    assert field(made, b"x-amz-date") == b"20150830T123600Z"
    assert field(made, b"x-amz-security-token") == VALUES["aws/token"]
    assert [name for name, _ in made.headers].count(b"authorization") == 1


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("iam.amazonaws.com", ("iam", "us-east-1")),
        ("s3.amazonaws.com", ("s3", "us-east-1")),
        ("bucket.s3.amazonaws.com", ("s3", "us-east-1")),
        ("s3.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("a.b.s3.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("s3.dualstack.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("ap-123.s3-accesspoint.eu-west-1.amazonaws.com", ("s3", "eu-west-1")),
        ("bedrock-runtime.us-west-2.amazonaws.com", ("bedrock", "us-west-2")),
        ("api.ecr.us-west-2.amazonaws.com", ("ecr", "us-west-2")),
        ("dynamodb.cn-north-1.amazonaws.com.cn", ("dynamodb", "cn-north-1")),
        ("sqs-fips.us-gov-west-1.amazonaws.com", ("sqs", "us-gov-west-1")),
        ("lambda.eu-central-1.api.aws", ("lambda", "eu-central-1")),
        ("abc123.execute-api.eu-central-1.amazonaws.com", ("execute-api", "eu-central-1")),
        ("search-x.eu-central-1.es.amazonaws.com", ("es", "eu-central-1")),
        ("storage.example.com", None),
    ],
)
def test_hosts_tell_service_and_region(host, scope):
    assert signed_for(host) == scope


def test_multi_region_access_points_are_refused_with_words():
    with pytest.raises(ValueError, match="SigV4A"):
        signed_for("m.accesspoint.s3-global.amazonaws.com")


def test_a_host_that_tells_nothing_needs_options():
    with pytest.raises(ValueError, match="for which service and region"):
        signer().sign(outgoing(b"GET", b"storage.example.com", b"/"), VALUES)
    made = outgoing(b"GET", b"storage.example.com", b"/b/k")
    signer(service="s3", region="auto").sign(made, VALUES)
    assert b"/auto/s3/aws4_request" in field(made, b"authorization")


@pytest.mark.parametrize(
    ("made", "use"),
    [
        (request(host=SQS), BodyUse.NONE),
        (request(b"POST", SQS, body=b"Action=x"), BodyUse.WHOLE),
        (request(b"PUT", "s3.eu-west-1.amazonaws.com", body=b"data"), BodyUse.NONE),
        (request(b"PUT", "s3.eu-west-1.amazonaws.com", body=b"data", scheme=b"http"), BodyUse.WHOLE),
        (request(b"PUT", SQS, headers=[(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")], body=b"x"), BodyUse.NONE),
        (request(b"PUT", SQS, headers=[(b"x-amz-content-sha256", b"a" * 64)], body=b"x"), BodyUse.NONE),
        (
            request(b"PUT", SQS, headers=[(b"x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")], body=b"x"),
            BodyUse.NONE,
        ),
        (
            request(
                b"PUT", headers=[(b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")], body=b"x"
            ),
            BodyUse.CODED,
        ),
    ],
)
def test_the_body_is_held_only_where_it_must_be(made, use):
    assert signer().use_of_body(made) is use


def test_s3_without_a_hash_is_sent_unsigned_over_tls():
    made = outgoing(b"PUT", b"s3.eu-west-1.amazonaws.com", b"/b/k", body=None, length=10**9)
    signer().sign(made, VALUES)
    assert field(made, b"x-amz-content-sha256") == b"UNSIGNED-PAYLOAD"


def test_presigned_urls_are_known():
    for query in (b"X-Amz-Signature=x", b"a=b&X%2DAmz-Signature=x", b"AWSAccessKeyId=x&Signature=y"):
        assert signer().is_presigned(request(path=b"/k?" + query))
    assert not signer().is_presigned(request(path=b"/k?list-type=2"))


def test_calls_that_prove_themselves_otherwise_are_not_signed():
    body = b"Action=AssumeRoleWithWebIdentity&WebIdentityToken=x"
    made = outgoing(b"POST", b"sts.eu-west-1.amazonaws.com", b"/", [(b"authorization", b"AWS4 old")], body)
    signer().sign(made, VALUES)
    assert field(made, b"authorization") == b""


def test_the_vendors_clock_is_learned_from_a_refusal():
    made = signer()
    late = Response(403, [(b"date", b"Sun, 30 Aug 2015 13:36:00 GMT")], BytesBody())
    assert made.heard(late, MOMENT)
    assert not made.heard(late, MOMENT), "once is enough"
    signed = outgoing(b"GET", b"iam.amazonaws.com", b"/")
    made.sign(signed, VALUES)
    assert field(signed, b"x-amz-date") == b"20150830T133600Z"
    assert not made.heard(Response(200, [(b"date", b"Sun, 30 Aug 2015 23:36:00 GMT")], BytesBody()), MOMENT)
    assert not made.heard(Response(403, [(b"date", b"nonsense")], BytesBody()), MOMENT)


def test_secrets_are_missed_by_name_and_never_shown():
    with pytest.raises(ValueError, match="secret_access_key"):
        compile_auth(Auth("sigv4", secrets=(("access_key_id", "aws/id"),)))
    with pytest.raises(KeyError, match="aws/key"):
        signer().sign(outgoing(b"GET", b"iam.amazonaws.com", b"/"), {"aws/id": ID})
    assert KEY.decode() not in repr(signer())


# --- botocore -------------------------------------------------------------------------------------

SEGMENT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
NAME = st.text("abcXYZ019-_.~ +/:é%&=", min_size=1, max_size=8)
METHODS = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"])
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["x-amz-meta-a", "x-amz-meta-b", "x-amz-acl", "content-type", "content-md5", "accept", "range"]
        ),
        st.text("ab cd\t;=,/", max_size=12).map(str.strip),
    ),
    max_size=5,
    unique_by=lambda pair: pair[0],
)


@settings(max_examples=1500, deadline=None)
@given(
    method=METHODS,
    segments=st.lists(SEGMENT | st.sampled_from([".", "..", "", "a b", "ü", "%2F"]), max_size=5),
    query=st.lists(st.tuples(NAME, st.text("abc +/:é%&=", max_size=6)), max_size=4),
    headers=HEADERS,
    body=st.binary(max_size=64),
    is_s3=st.booleans(),
    token=st.booleans(),
)
def test_signatures_are_botocores(method, segments, query, headers, body, is_s3, token):
    awsrequest = pytest.importorskip("botocore.awsrequest")
    from botocore import auth as botocore_auth
    from botocore.credentials import Credentials

    service = "s3" if is_s3 else "lambda"
    host = f"{service}.eu-central-1.amazonaws.com"
    target = "/" + "/".join(quote(part, safe="-_.~") for part in segments)
    if query:
        target += "?" + "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)
    said = dict(headers)
    if is_s3:
        said["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    made = outgoing(
        method.encode(), host.encode(), target.encode(), [(k.encode(), v.encode()) for k, v in said.items()], body
    )
    signer(token=token).sign(made, VALUES)

    signed = {k: v for k, v in said.items() if k.startswith("x-amz-") or k in ("content-type", "content-md5")}
    signed |= {"X-Amz-Date": field(made, b"x-amz-date").decode(), "host": host}
    if token:
        signed["X-Amz-Security-Token"] = VALUES["aws/token"].decode()
    theirs = awsrequest.AWSRequest(method, f"https://{host}{target}", headers=signed, data=body)
    theirs.context["timestamp"] = signed["X-Amz-Date"]
    kind = botocore_auth.S3SigV4Auth if is_s3 else botocore_auth.SigV4Auth
    oracle = kind(Credentials(ID.decode(), KEY.decode()), service, "eu-central-1")
    canonical = oracle.canonical_request(theirs)
    signature = oracle.signature(oracle.string_to_sign(theirs, canonical), theirs)
    assert field(made, b"authorization").endswith(b"Signature=" + signature.encode())
