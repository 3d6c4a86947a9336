"""Flows of vendors' own; each says where it is documented."""

import calendar
import hashlib
import json
import time
import uuid
from base64 import b64encode
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import DEFAULT_LIFE, Ask, Issued, bearer, checked
from proxyd.tokens.jwt import encoded, signed

_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def google_service_account(ask: Ask) -> Issued:
    """https://developers.google.com/identity/protocols/oauth2/service-account; the file's own URL is not asked."""
    key = _google_key(ask)
    now = int(ask.wall())
    claims = {"iss": key["client_email"], "aud": ask.source.url, "iat": now, "exp": now + 3600, "scope": _scope(ask)}
    subject = ask.option("subject")
    if subject:
        claims["sub"] = subject
    assertion = signed(claims, key["private_key"].encode(), headers={"kid": key.get("private_key_id", "")})
    return bearer(await ask.post(ask.source.url, {"grant_type": _JWT_BEARER, "assertion": assertion}))


async def google_impersonation(ask: Ask) -> Issued:
    """https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken."""
    own = await google_service_account(ask)
    target = ask.option("target")
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{target}:generateAccessToken"
    authorization = f"Bearer {own.values['access_token'].decode('ascii')}"
    document = {"scope": _scope(ask).split(), "lifetime": "3600s"}
    answer = await ask.client.ask(url, ask.source.hosts, document=document, headers={"authorization": authorization})
    said = checked(answer)
    issued = bearer(said, name="accessToken")
    return Issued(issued.values, until(said.get("expireTime"), ask))


async def google_metadata(ask: Ask) -> Issued:
    """https://cloud.google.com/compute/docs/access/authenticate-workloads, on a machine of Google's."""
    url = ask.source.url or "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
    answer = await ask.client.ask(url, ask.source.hosts, method="GET", headers={"metadata-flavor": "Google"})
    return bearer(checked(answer))


async def entra(ask: Ask) -> Issued:
    """https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow."""
    if not ask.has("certificate"):
        form = {
            "grant_type": "client_credentials", "client_id": ask.named("client_id"),
            "client_secret": ask.text("client_secret"), "scope": _scope(ask),
        }  # fmt: skip
        return bearer(await ask.post(ask.source.url, form))
    pem = ask.secret("certificate")
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except ValueError:
        raise TokenError(
            "the secret for certificate holds no certificate in PEM beside the key", is_final=True
        ) from None
    identity, now = ask.named("client_id"), int(ask.wall())
    claims = {
        "aud": ask.source.url, "iss": identity, "sub": identity, "jti": str(uuid.uuid4()),
        "iat": now, "nbf": now, "exp": now + 600,
    }  # fmt: skip
    thumb = {"x5t#S256": encoded(hashlib.sha256(der).digest())}
    form = {
        "grant_type": "client_credentials", "client_id": identity, "scope": _scope(ask),
        "client_assertion_type": _ASSERTION, "client_assertion": signed(claims, pem, algorithm="PS256", headers=thumb),
    }  # fmt: skip
    return bearer(await ask.post(ask.source.url, form))


async def azure_managed_identity(ask: Ask) -> Issued:
    """https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token."""
    resource = _scope(ask).removesuffix("/.default")
    url = f"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}"
    answer = await ask.client.ask(ask.source.url or url, ask.source.hosts, method="GET", headers={"metadata": "true"})
    return bearer(checked(answer))


async def github_app(ask: Ask) -> Issued:
    """https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app."""
    now = int(ask.wall())
    claims = {"iat": now - 60, "exp": now + 540, "iss": ask.option("app_id")}
    token = signed(claims, ask.secret("private_key"))
    headers = {"authorization": f"Bearer {token}", "accept": "application/vnd.github+json"}
    said = checked(await ask.client.ask(ask.source.url, ask.source.hosts, headers=headers))
    return Issued(bearer(said, name="token").values, until(said.get("expires_at"), ask))


async def ibm_iam(ask: Ask) -> Issued:
    """https://cloud.ibm.com/apidocs/iam-identity-token-api: an API key for a token."""
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": ask.text("api_key")}
    return bearer(await ask.post(ask.source.url, {**form, "response_type": "cloud_iam"}))


async def platform_sh(ask: Ask) -> Issued:
    """https://docs.platform.sh/development/api.html: an API token for an access token of 15 minutes."""
    basic = b64encode(b"platform-api-user:").decode("ascii")
    form = {"grant_type": "api_token", "api_token": ask.text("token")}
    return bearer(await ask.post(ask.source.url, form, {"authorization": f"Basic {basic}"}))


async def docker_hub_login(ask: Ask) -> Issued:
    """https://docs.docker.com/reference/api/hub/latest/#tag/authentication-api: a token of ten minutes."""
    document = {"identifier": ask.named("user"), "secret": ask.text("token")}
    said = checked(await ask.client.ask(ask.source.url, ask.source.hosts, document=document))
    issued = bearer(said)
    return Issued(issued.values, 600.0 if issued.life == DEFAULT_LIFE else issued.life)


def until(text: object, ask: Ask) -> float:
    """Return the seconds until a time in ISO 8601 (UTC)."""
    try:
        moment = calendar.timegm(time.strptime(str(text)[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return DEFAULT_LIFE
    return max(1.0, moment - ask.wall())


def _scope(ask: Ask) -> str:
    return ask.option("scope")


def _google_key(ask: Ask) -> dict[str, Any]:
    try:
        key = json.loads(ask.secret("service_account"))
    except ValueError:
        key = None
    if (
        not isinstance(key, dict)
        or not isinstance(key.get("client_email"), str)
        or not isinstance(key.get("private_key"), str)
    ):
        raise TokenError("the secret for service_account is no JSON key of a service account", is_final=True)
    return key
