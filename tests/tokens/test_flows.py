"""What flows ask, and what they make of answers; issuers are scripted, signatures are verified by the public key."""

import base64
import json
import ssl
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from proxyd.core.settings import TokenSource
from proxyd.tokens.client import Answer, Client
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask
from proxyd.tokens.jwt import signed
from proxyd.tokens.registry import FLOWS
from tests.lab.issuer import Issuer
from tests.lab.pki import create_pki

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
NOW = 1_800_000_000.0


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Scripted:
    """A client whose answers are given."""

    def __init__(self, *answers):
        self.answers = [Answer(status, {}, json.dumps(body).encode()) for status, body in answers]
        self.asked = []

    async def ask(self, url, hosts, **said):
        self.asked.append((url, said))
        return self.answers.pop(0)


def asking(client, flow, secrets, url="https://issuer.example/token", hosts=("issuer.example",), **options):
    source = TokenSource(
        "token:s", "s", flow, url, tuple((name, f"s/{name}") for name in secrets), tuple(options.items()), hosts
    )
    return Ask(source, client, lambda name: secrets[name], lambda: NOW)


async def run(flow, secrets, *answers, **more):
    client = Scripted(*answers)
    issued = await FLOWS[flow](asking(client, flow, secrets, **more))
    return issued, client.asked


def decoded(token):
    head, claims, signature = token.split(".")

    def part(text):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    return json.loads(part(head)), json.loads(part(claims)), part(signature), f"{head}.{claims}".encode()


GOOD = (200, {"access_token": "the-token", "expires_in": "1800"})


async def test_client_credentials_by_basic_encode_both_parts():
    issued, [(url, said)] = await run(
        "client_credentials", {"client_id": b"i d", "client_secret": b"s:cret"}, GOOD, scope="read"
    )
    assert (issued.values, issued.life) == ({"access_token": b"the-token"}, 1800.0)
    assert url == "https://issuer.example/token"
    assert said["form"] == {"grant_type": "client_credentials", "scope": "read"}
    pair = base64.b64decode(said["headers"]["authorization"].removeprefix("Basic "))
    assert pair == b"i%20d:s%3Acret"  # RFC 6749 §2.3.1
    assert "the-token" not in repr(issued)


async def test_client_credentials_by_post_and_by_assertion():
    _, [(_, said)] = await run(
        "client_credentials", {"client_id": b"id", "client_secret": b"secret"}, GOOD, client_auth="post"
    )
    assert said["form"]["client_secret"] == "secret"
    _, [(_, said)] = await run("client_credentials", {"client_id": b"id", "private_key": pem(RSA)}, GOOD)
    head, claims, signature, text = decoded(said["form"]["client_assertion"])
    RSA.public_key().verify(signature, text, padding.PKCS1v15(), SHA256())
    assert head["alg"] == "RS256"
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("id", "id", "https://issuer.example/token")
    assert 0 < claims["exp"] - NOW <= 600


async def test_a_form_under_another_name_keeps_its_at_sign():
    secrets = {"client_id": b"ci@acme", "client_secret": b"a b&c"}
    kind = "application/vnd.appd.cntrl+protobuf;v=1"
    issued, [(_, said)] = await run("client_credentials", secrets, GOOD, client_auth="post", content_type=kind)
    assert said["content"] == b"grant_type=client_credentials&client_id=ci@acme&client_secret=a+b%26c"
    assert said["headers"] == {"content-type": kind}
    assert issued.values == {"access_token": b"the-token"}


@pytest.mark.parametrize(
    ("returned", "rotated"),
    [({}, {}), ({"refresh_token": "r1"}, {}), ({"refresh_token": "r2"}, {"refresh_token": b"r2"})],
)
async def test_a_refresh_token_that_is_not_returned_stays(returned, rotated):
    secrets = {"client_id": b"id", "client_secret": b"x", "refresh_token": b"r1"}
    issued, [(_, said)] = await run("refresh_token", secrets, (200, {**GOOD[1], **returned}))
    assert said["form"]["refresh_token"] == "r1"
    assert issued.rotated == rotated


async def test_a_service_account_of_google():
    key = {
        "client_email": "a@b.iam",
        "private_key": pem(RSA).decode(),
        "private_key_id": "k1",
        "token_uri": "https://evil",
    }
    issued, [(url, said)] = await run(
        "google_service_account", {"service_account": json.dumps(key).encode()}, GOOD, scope="s1 s2"
    )
    head, claims, signature, text = decoded(said["form"]["assertion"])
    RSA.public_key().verify(signature, text, padding.PKCS1v15(), SHA256())
    assert url == "https://issuer.example/token", "what the file says is not asked"
    assert head["kid"] == "k1"
    assert (claims["iss"], claims["scope"]) == ("a@b.iam", "s1 s2")
    assert issued.values == {"access_token": b"the-token"}


async def test_a_service_account_that_acts_as_another():
    key = {"client_email": "a@b.iam", "private_key": pem(RSA).decode()}
    later = (200, {"accessToken": "other-token", "expireTime": "2027-01-15T08:30:00Z"})
    issued, asked = await run(
        "google_impersonation", {"service_account": json.dumps(key).encode()}, GOOD, later, scope="s", target="t@b.iam"
    )
    assert asked[1][0].endswith("/serviceAccounts/t@b.iam:generateAccessToken")
    assert asked[1][1]["headers"]["authorization"] == "Bearer the-token"
    assert issued.values == {"access_token": b"other-token"}


async def test_an_app_of_github():
    made = (201, {"token": "ghs_x", "expires_at": "2027-01-15T09:00:00Z"})
    issued, [(_, said)] = await run("github_app", {"private_key": pem(RSA)}, made, app_id="7")
    _, claims, signature, text = decoded(said["headers"]["authorization"].removeprefix("Bearer "))
    RSA.public_key().verify(signature, text, padding.PKCS1v15(), SHA256())
    assert claims == {"iat": NOW - 60, "exp": NOW + 540, "iss": "7"}
    assert issued.life == 3600.0


async def test_identities_of_machines_are_had_of_their_metadata_servers():
    issued, [(url, said)] = await run("google_metadata", {}, GOOD, url="")
    assert url == "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
    assert said == {"method": "GET", "headers": {"metadata-flavor": "Google"}}
    assert issued.values == {"access_token": b"the-token"}
    scope = "https://management.azure.com/.default"
    issued, [(url, said)] = await run("azure_managed_identity", {}, GOOD, url="", scope=scope)
    address, _, query = url.partition("?")
    assert address == "http://169.254.169.254/metadata/identity/oauth2/token"
    assert dict(parse_qsl(query)) == {"api-version": "2018-02-01", "resource": "https://management.azure.com"}
    assert said == {"method": "GET", "headers": {"metadata": "true"}}
    assert issued.values == {"access_token": b"the-token"}


async def test_vendors_own_grants():
    _, [(_, said)] = await run("ibm_iam", {"api_key": b"k"}, GOOD)
    assert said["form"]["grant_type"] == "urn:ibm:params:oauth:grant-type:apikey"
    _, [(_, said)] = await run("platform_sh", {"token": b"t"}, GOOD)
    assert said["form"] == {"grant_type": "api_token", "api_token": "t"}
    _, [(_, said)] = await run("entra", {"client_id": b"id", "client_secret": b"s"}, GOOD, scope="r/.default")
    assert said["form"]["scope"] == "r/.default"
    issued, [(_, said)] = await run("docker_hub_login", {"user": b"u", "token": b"t"}, (200, {"access_token": "jwt"}))
    assert said["document"] == {"identifier": "u", "secret": "t"}
    assert issued.life == 600.0


@pytest.mark.parametrize(
    ("answer", "why", "is_final"),
    [
        ((400, {"error": "invalid_grant", "error_description": "secret-ish"}), "400 invalid_grant", True),
        ((200, {"error": "bad_refresh_token", "error_description": "secret-ish"}), "bad_refresh_token", True),
        ((503, {"error": "temporarily_unavailable"}), "503 temporarily_unavailable", False),
        ((429, {}), "429", False),
        ((200, {"expires_in": 5}), "has no access_token", False),
        ((200, {"access_token": "a\nb"}), "has no access_token", False),
    ],
)
async def test_errors_have_the_issuers_code_and_no_more(answer, why, is_final):
    with pytest.raises(TokenError, match=why) as caught:
        await run("client_credentials", {"client_id": b"id", "client_secret": b"very-private"}, answer)
    assert caught.value.is_final is is_final
    assert "very-private" not in str(caught.value)
    assert "secret-ish" not in str(caught.value)


def test_assertions_by_elliptic_curve():
    _, _, signature, text = decoded(signed({"a": 1}, pem(EC)))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    EC.public_key().verify(encode_dss_signature(r, s), text, ec.ECDSA(SHA256()))


@pytest.mark.parametrize("key", [b"no key", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"])
def test_what_is_no_key_is_said_without_showing_it(key):
    with pytest.raises(TokenError, match="cannot be read") as caught:
        signed({}, key)
    assert "no key" not in str(caught.value).replace("private key", "")


# --- the client -----------------------------------------------------------------------------------


async def test_the_client_verifies_and_follows_nobody(tmp_path):
    pki = create_pki(tmp_path, ("localhost",))
    with Issuer(pki) as issuer:
        client = Client(pki.roots.read_text())
        answer = await client.ask(issuer.url, ("localhost",), form={"grant_type": "client_credentials"})
        assert answer.json()["access_token"] == "access-token-number-1"
        with pytest.raises(TokenError, match="not among the hosts"):
            await client.ask(issuer.url, ("issuer.example",), form={})
        with pytest.raises(TokenError, match="cannot be asked"):
            await Client().ask(issuer.url, ("localhost",), form={})
    with pytest.raises(TokenError, match="plain http"):
        await client.ask("http://issuer.example/token", ("issuer.example",), form={})


# --- mutual TLS (RFC 8705 §2) ---------------------------------------------------------------------


@pytest.fixture
def mutual(tmp_path):
    """An issuer that wants a certificate of the lab's authority; yields it, the authority and the client's PEM."""
    pki = create_pki(tmp_path / "pki", ("localhost",))
    client = pki.certificate.read_bytes() + pki.key.read_bytes()
    context = pki.server_context()
    context.load_verify_locations(pki.roots)
    context.verify_mode = ssl.CERT_REQUIRED
    with Issuer(context) as issuer:
        yield issuer, pki.roots.read_text(), client


async def test_a_client_proves_itself_by_its_certificate(mutual):
    issuer, roots, certificate = mutual
    secrets = {"client_id": b"id-of-the-lab", "client_certificate": certificate}
    how = {"url": issuer.url, "hosts": ("localhost",), "client_auth": "mtls"}
    issued = await FLOWS["client_credentials"](asking(Client(roots), "client_credentials", secrets, **how))
    assert issued.values == {"access_token": b"access-token-number-1"}
    assert issuer.asked == [{"grant_type": "client_credentials", "client_id": "id-of-the-lab", "authorization": ""}]


@pytest.mark.parametrize("certificate", [b"no PEM", pem(RSA), b""], ids=["nonsense", "key-alone", "nothing"])
async def test_a_certificate_that_cannot_be_shown_is_said_and_not_printed(mutual, certificate):
    issuer, roots, _ = mutual
    secrets = {"client_id": b"id-of-the-lab", "client_certificate": certificate}
    how = {"url": issuer.url, "hosts": ("localhost",), "client_auth": "mtls"}
    with pytest.raises(TokenError) as caught:
        await FLOWS["client_credentials"](asking(Client(roots), "client_credentials", secrets, **how))
    assert "PRIVATE" not in str(caught.value)
    assert issuer.asked == []
