"""SigV4 against AWS's published examples; against botocore in test_sigv4_botocore."""

import pytest

from proxyd.auth.aws_chunked import Resigned
from proxyd.auth.registry import compile as compile_auth
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


@pytest.mark.parametrize(
    ("method", "path", "signature"),
    [
        (b"GET", b"/", b"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (b"POST", b"/", b"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (b"GET", b"/example/..", b"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (b"GET", b"//./", b"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            b"GET",
            b"/?Param2=value2&Param1=value1",
            b"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            b"GET",
            b"/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            b"07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "get-relative", "get-slash-dot-slash", "get-vanilla-query-order", "unreserved"],
)
def test_the_published_suite(method, path, signature):
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-test-suite.html, what signs host and date alone."""
    made = outgoing(method, b"example.amazonaws.com", path)
    signer(service="service", region="us-east-1").sign(made, VALUES)
    assert field(made, b"authorization").endswith(b"SignedHeaders=host;x-amz-date, Signature=" + signature)


@pytest.mark.parametrize(
    ("path", "signature"),
    [
        (b"/?lifecycle", b"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (b"/?max-keys=2&prefix=J", b"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
    ids=["bucket lifecycle", "list objects"],
)
def test_the_published_examples_of_s3(path, signature):
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    made = outgoing(b"GET", b"examplebucket.s3.amazonaws.com", path, now=1369353600.0)
    values = {"aws/id": b"AKIAIOSFODNN7EXAMPLE", "aws/key": b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
    signer().sign(made, values)
    assert field(made, b"authorization").endswith(b"Signature=" + signature)


def signature_of(path, **more):
    made = outgoing(b"GET", b"s3.eu-west-1.amazonaws.com", path, **more)
    signer().sign(made, VALUES)
    return field(made, b"authorization"), made.path


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        (b"/b/a%c3%a9!(1)+", b"/b/a%C3%A9%21%281%29%2B"),
        (b"/b/%7Eme//a%2Fb/../c", b"/b/~me//a%2Fb/../c"),
        (b"/b?prefix=a/b&x&y=", b"/b?prefix=a%2Fb&x&y="),
        (b"/b?prefix=%7eme&a=b=c", b"/b?prefix=~me&a=b%3Dc"),
        (b"/b?q=a+b&r=1%2B1", b"/b?q=a%20b&r=1%2B1"),
    ],
    ids=["lower case and not encoded", "encoded needlessly", "a slash in a query", "equals signs", "a plus in a query"],
)
def test_what_is_encoded_otherwise_is_sent_as_it_is_signed(sent, canonical):
    assert signature_of(sent) == signature_of(canonical)
    assert signature_of(sent)[1] == canonical


def test_a_path_that_is_encoded_once_more_stays_as_it_was_sent():
    made = outgoing(b"GET", b"lambda.eu-west-1.amazonaws.com", b"/functions/arn%3aaws!/x?a=%7e")
    signer().sign(made, VALUES)
    assert made.path == b"/functions/arn%3aaws!/x?a=~"


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


def claims(scope):
    value = b"AWS4-HMAC-SHA256 Credential=P/20200101/" + scope + b"/aws4_request, SignedHeaders=host, Signature=00"
    return [(b"authorization", value)]


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        (b"abc.execute-api.eu-west-1.amazonaws.com", b"/eu-west-1/execute-api/"),
        (b"anybodys.s3.eu-west-1.amazonaws.com", b"/eu-west-1/s3/"),
        (b"search-x.eu-west-1.es.amazonaws.com", b"/eu-west-1/es/"),
        (b"newer.eu-west-1.amazonaws.com", b"/eu-west-1/iam/"),
    ],
    ids=["gateway", "bucket", "search", "of AWS's own"],
)
def test_behind_names_of_customers_nobody_gets_a_signature_for_another_service(host, scope):
    made = outgoing(b"GET", host, b"/", claims(b"eu-west-1/iam"))
    signer().sign(made, VALUES)
    assert scope in field(made, b"authorization")


@pytest.mark.parametrize(
    ("host", "headers", "is_due"),
    [
        ("site.s3-website-eu-west-1.amazonaws.com", [], False),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", [(b"authorization", b"Basic QVdTOnRva2Vu")], False),
        ("oidc.eu-west-1.amazonaws.com", [], False),
        ("oidc.eu-west-1.amazonaws.com", claims(b"eu-west-1/sso-oauth"), True),
        (SQS, [], True),
        ("minio.example.com", [], True),
    ],
    ids=["website", "registry", "sign-in", "sign-in that is signed", "service", "compatible store"],
)
def test_what_takes_no_signature_goes_as_it_comes(host, headers, is_due):
    assert signer().is_due(request(host=host, headers=headers)) is is_due


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


def test_ways_to_sign_a_body_that_cannot_be_done_anew_are_named():
    made = outgoing(b"POST", SQS.encode(), b"/", [(b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-EVENTS")])
    with pytest.raises(ValueError, match="STREAMING-AWS4-HMAC-SHA256-EVENTS"):
        signer().sign(made, VALUES)


CHUNKED = [(b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]
CODED = b"3;chunk-signature=%s\r\nabc\r\n0;chunk-signature=%s\r\n\r\n" % (b"0" * 64, b"0" * 64)


async def test_chunks_that_something_took_into_memory_are_signed_all_the_same():
    made = [
        outgoing(b"PUT", b"s3.eu-west-1.amazonaws.com", b"/b/k", CHUNKED, None, coded=coded)
        for coded in (BytesBody(CODED), Resigned(BytesBody(CODED)))
    ]
    for one in made:
        signer().sign(one, VALUES)
    assert made[0].body == await made[1].coded.read() != CODED
    assert field(made[0], b"authorization") == field(made[1], b"authorization")


def test_chunks_that_something_has_changed_are_refused():
    made = outgoing(b"PUT", b"s3.eu-west-1.amazonaws.com", b"/b/k", CHUNKED, None, coded=object())
    with pytest.raises(ValueError, match="has changed them"):
        signer().sign(made, VALUES)


def test_presigned_urls_are_known():
    for query in (b"X-Amz-Signature=x", b"a=b&X%2DAmz-Signature=x", b"AWSAccessKeyId=x&Signature=y"):
        assert signer().is_presigned(request(path=b"/k?" + query))
    assert not signer().is_presigned(request(path=b"/k?list-type=2"))


@pytest.mark.parametrize(
    ("path", "body", "is_signed"),
    [
        (b"/", b"Action=AssumeRoleWithWebIdentity&WebIdentityToken=x", False),
        (b"/", b"Version=2011-06-15&Action=AssumeRoleWithSAML", False),
        (b"/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15", b"", False),
        (b"/", b"Action=AssumeRole&RoleSessionName=Action%3DAssumeRoleWithSAML", True),
    ],
    ids=["web identity", "saml", "in the query", "role"],
)
def test_calls_that_prove_themselves_otherwise_are_not_signed(path, body, is_signed):
    old = [(b"authorization", b"AWS4 old")]
    made = outgoing(b"POST", b"sts.eu-west-1.amazonaws.com", path, old, body)
    signer().sign(made, VALUES)
    assert (field(made, b"authorization") != b"") is is_signed


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
