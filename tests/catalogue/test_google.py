"""Google's own storage client without credentials, through proxyd, to doubles of the issuer and of the storage API."""

import json

import pytest

from tests.catalogue.lab.issuer import asking
from tests.catalogue.lab.proxied import loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("google-cloud-storage",)
AGAINST = "double"
HOST = "storage.googleapis.com"
ACCOUNT = "robot@project.iam.gserviceaccount.com"
TOKEN = "ya29.c.AAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture(scope="module")
def key():
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 2048)


def service_account(key):
    """Return the JSON file of a service account."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    said = {"type": "service_account", "project_id": "project", "private_key_id": "k1", "private_key": pem}
    return json.dumps({**said, "client_email": ACCOUNT, "token_uri": "https://oauth2.googleapis.com/token"})


def rule_of(key):
    """The issuer verifies the assertion (RFC 7523 §3) by PyJWT; the API takes its token, and no key beside it."""
    import jwt

    def check(asked):
        if asked.path == "/token":
            form = asked.form()
            if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
                return "unsupported_grant_type"
            try:
                audience = f"https://{asked.value('host')}/token"
                claims = jwt.decode(form["assertion"], key.public_key(), ["RS256"], audience=audience)
            except jwt.InvalidTokenError:
                return "invalid_grant"
            scoped = claims.get("scope") == "https://www.googleapis.com/auth/cloud-platform"
            return (
                "" if claims["iss"] == ACCOUNT and scoped and claims["exp"] - claims["iat"] <= 3600 else "invalid_scope"
            )
        strange = asked.values("x-goog-api-key") or asked.parameter("key")
        return "" if asked.value("authorization") == f"Bearer {TOKEN}" and not strange else "Invalid Credentials"

    return check


def answers(asked):
    match asked.method, asked.path:
        case "POST", "/token":
            return Answer(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3599})
        case "GET", "/storage/v1/b":
            return Answer(200, {"kind": "storage#buckets", "items": [{"kind": "storage#bucket", "name": "box"}]})
        case "GET", "/storage/v1/b/box/o/a/b.txt":
            return Answer(200, {"kind": "storage#object", "name": "a/b.txt", "bucket": "box", "size": "4"})
    return Answer(404, {"error": {"code": 404, "message": "Not Found"}})


def refuse(why):
    return Answer(401, {"error": why} if why.startswith("invalid") else {"error": {"code": 401, "message": why}})


@pytest.mark.filterwarnings("ignore:Please install grpcio-status")
@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_the_client_works_without_credentials(pki_of, vendor, proxied, tmp_path, key, is_right):
    import requests
    from cryptography.hazmat.primitives.asymmetric import rsa
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    pki = pki_of(HOST, "localhost")
    double = vendor(pki, rule_of(key), answers, refuse)
    used = key if is_right else rsa.generate_private_key(65537, 2048)
    catalogue = [asking("google", double.port, tmp_path)]
    service = {"secret": {"service_account": "g/account"}, **loopback(double.port)}
    proxied(pki, {"google": service}, {"g/account": service_account(used)}, catalogue=catalogue)
    client = storage.Client(project="project", credentials=AnonymousCredentials())
    if not is_right:
        answer = requests.get(f"https://{HOST}/storage/v1/b?project=project", timeout=30)
        assert "invalid_grant" in answer.json()["detail"]
        return
    assert [bucket.name for bucket in client.list_buckets(timeout=30)] == ["box"]
    assert client.bucket("box").get_blob("a/b.txt", timeout=30).size == 4  # its slash stays %2F
    assert double.asked[-1].target.startswith("/storage/v1/b/box/o/a%2Fb.txt")
    assert [asked.path for asked in double.asked].count("/token") == 1
    assert double.refused == []
