"""What AWS is asked for temporary keys, and what is made of its answers; STS and the metadata servers are scripted."""

import json
import re

import pytest

from proxyd.core.settings import TokenSource
from proxyd.tokens.client import Answer
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask
from proxyd.tokens.registry import FLOWS

NOW = 1_800_000_000.0
LATER = "2027-01-15T09:00:00Z"
KEYS = {"access_key_id": b"AKIDEXAMPLE", "secret_access_key": b"wJalrXUtnFEMI/K7MDENG"}
ROLE = {"role_arn": "arn:aws:iam::123456789012:role/lab"}
VALUES = {"issued_key_id": b"ASIA1", "issued_key": b"k/+y", "issued_session": b"FwoGZXIvYXdzEJr//+=="}
GIVEN = {"AccessKeyId": "ASIA1", "SecretAccessKey": "k/+y", "Token": "FwoGZXIvYXdzEJr//+==", "Expiration": LATER}


def sts(action, session="FwoGZXIvYXdzEJr//+=="):
    return f"""<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>
      <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/lab/proxyd</Arn></AssumedRoleUser>
      <Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>k/+y</SecretAccessKey>
      <SessionToken>
        {session}
      </SessionToken><Expiration>{LATER}</Expiration></Credentials></{action}Result></{action}Response>"""


class Scripted:
    """A client whose answers are given."""

    def __init__(self, *answers):
        self.answers = [
            Answer(status, {}, (body if isinstance(body, str) else json.dumps(body)).encode())
            for status, body in answers
        ]
        self.asked = []

    async def ask(self, url, hosts, method="POST", **said):
        self.asked.append((method, url, said))
        return self.answers.pop(0)


async def run(flow, secrets, *answers, url="", **options):
    client = Scripted(*answers)
    names = tuple((name, name) for name in secrets)
    source = TokenSource("token:aws", "aws", flow, url, names, tuple(options.items()), ("sts.amazonaws.com",))
    issued = await FLOWS[flow](Ask(source, client, lambda name: secrets[name], lambda: NOW))
    return issued, client.asked


async def test_a_role_is_assumed_by_a_signed_question():
    issued, [(method, url, said)] = await run(
        "aws_assume_role", KEYS, (200, sts("AssumeRole")), **ROLE, session_name="me", external_id="x+1"
    )
    assert (issued.values, issued.life) == (VALUES, 3600.0)
    assert (method, url) == ("POST", "https://sts.amazonaws.com/")
    assert said["content"] == (
        b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Flab"
        b"&RoleSessionName=me&DurationSeconds=3600&ExternalId=x%2B1"
    )
    headers = said["headers"]
    assert headers["x-amz-date"] == "20270115T080000Z"
    assert re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20270115/us-east-1/sts/aws4_request, "
        r"SignedHeaders=content-type;host;x-amz-date, Signature=[0-9a-f]{64}",
        headers["authorization"],
    )
    assert "k/+y" not in repr(issued)


async def test_keys_that_are_temporary_themselves_bring_their_session():
    keys = {**KEYS, "session_token": b"chained"}
    _, [(_, _, said)] = await run("aws_assume_role", keys, (200, sts("AssumeRole")), **ROLE)
    assert said["headers"]["x-amz-security-token"] == "chained"
    assert "x-amz-security-token" in said["headers"]["authorization"]


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
        ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
    ],
)
async def test_the_regions_own_sts_is_asked(region, url):
    _, [(_, asked, said)] = await run("aws_assume_role", KEYS, (200, sts("AssumeRole")), **ROLE, region=region)
    assert asked == url
    assert f"/{region}/sts/" in said["headers"]["authorization"]


async def test_a_web_identity_asks_without_a_signature():
    secrets = {"web_identity_token": b"eyJ.eyJ.sig\n"}
    issued, [(_, _, said)] = await run(
        "aws_web_identity", secrets, (200, sts("AssumeRoleWithWebIdentity")), **ROLE, duration="900"
    )
    assert issued.values == VALUES
    assert said["content"].endswith(b"DurationSeconds=900&WebIdentityToken=eyJ.eyJ.sig")
    assert "authorization" not in said["headers"]


@pytest.mark.parametrize(
    ("status", "code", "is_final"),
    [(403, "AccessDenied", True), (400, "Throttling", False), (400, "ExpiredTokenException", True), (503, "", False)],
)
async def test_a_refusal_is_told_by_its_code(status, code, is_final):
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>secret words</Message></Error></ErrorResponse>"
    with pytest.raises(TokenError, match=f"{status} {code}".strip()) as caught:
        await run("aws_assume_role", KEYS, (status, body), **ROLE)
    assert caught.value.is_final is is_final
    assert "words" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    ["", "<Credentials/>", sts("AssumeRole").replace("k/+y", "a\nb"), sts("AssumeRole").replace("ASIA1", "é")],
    ids=["empty", "none", "line break", "not ASCII"],
)
async def test_an_answer_without_keys_is_none(body):
    with pytest.raises(TokenError, match="no temporary keys"):
        await run("aws_assume_role", KEYS, (200, body), **ROLE)


async def test_a_machine_has_its_role_by_the_second_version_alone():
    issued, asked = await run("aws_instance", {}, (200, "token-1"), (200, "lab-role\n"), (200, GIVEN))
    assert issued.values == VALUES
    base = "http://169.254.169.254/latest"
    listed = f"{base}/meta-data/iam/security-credentials/"
    assert [(method, url) for method, url, _ in asked] == [
        ("PUT", f"{base}/api/token"),
        ("GET", listed),
        ("GET", f"{listed}lab-role"),
    ]
    assert asked[0][2]["headers"] == {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}
    assert [said["headers"] for _, _, said in asked[1:]] == [{"x-aws-ec2-metadata-token": "token-1"}] * 2


async def test_a_role_that_is_named_is_not_looked_for():
    _, asked = await run("aws_instance", {}, (200, "t"), (200, GIVEN), role="mine")
    assert asked[1][1].endswith("/mine")


@pytest.mark.parametrize("listed", ["", "../../user-data"], ids=["none", "no name"])
async def test_a_machine_without_a_role_says_so(listed):
    with pytest.raises(TokenError, match="has no role"):
        await run("aws_instance", {}, (200, "t"), (200, listed))


async def test_a_metadata_server_that_has_no_keys_yet_is_asked_again():
    with pytest.raises(TokenError, match="AssumeRoleUnauthorizedAccess") as caught:
        await run("aws_instance", {}, (200, "t"), (200, {"Code": "AssumeRoleUnauthorizedAccess"}), role="mine")
    assert not caught.value.is_final


async def test_a_container_asks_where_it_is_told_to():
    uri = "http://169.254.170.23/v1/credentials"
    issued, [(method, url, said)] = await run(
        "aws_container", {"container_token": b"tok\n"}, (200, GIVEN), credentials_uri=uri
    )
    assert (method, url) == ("GET", uri)
    assert said["headers"] == {"authorization": "tok"}
    assert issued.values == VALUES
