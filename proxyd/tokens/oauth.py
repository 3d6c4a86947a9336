"""OAuth 2.0 grants (RFC 6749, RFC 7521, RFC 7523, RFC 8693)."""

import base64
import uuid
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from proxyd.tokens.flow import Ask, Issued, bearer, checked
from proxyd.tokens.jwt import signed

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ASSERTION_SECONDS: Final = 300.0

_PASSED: Final = ("scope", "audience", "resource")
"""Options that go into the form as they are."""


def proof(ask: Ask) -> tuple[dict[str, str], dict[str, str]]:
    """Return form fields and headers by which the client proves itself.

    RFC 6749 §2.3.1, RFC 7523 §2.2, and RFC 8705 §2, where TLS proves it.
    """
    identity = ask.named("client_id")
    how = ask.option("client_auth", "jwt" if ask.has("private_key") else "basic")
    if how == "jwt":
        now = ask.wall()
        claims: dict[str, Any] = {
            "iss": identity, "sub": identity, "aud": ask.option("assertion_audience", ask.source.url),
            "jti": str(uuid.uuid4()), "iat": int(now), "exp": int(now + ASSERTION_SECONDS),
        }  # fmt: skip
        key_id = ask.option("key_id")
        assertion = signed(claims, ask.secret("private_key"), headers={"kid": key_id} if key_id else None)
        return {"client_id": identity, "client_assertion_type": _ASSERTION, "client_assertion": assertion}, {}
    if not identity:
        return {}, {}
    if how == "mtls" or not ask.has("client_secret"):
        return {"client_id": identity}, {}  # RFC 6749 §3.2.1: a public client
    secret = ask.text("client_secret")
    if how == "post":
        return {"client_id": identity, "client_secret": secret}, {}
    pair = f"{quote(identity, safe='')}:{quote(secret, safe='')}".encode("ascii")  # RFC 6749 §2.3.1: encoded first
    return {}, {"authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


def _passed(ask: Ask) -> dict[str, str]:
    return {name: value for name in _PASSED if (value := ask.option(name))}


async def _post(ask: Ask, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """Ask for a token. Where the option ``content_type`` names the form otherwise, ``@`` stays as it is.

    AppDynamics wants the one and shows the other, and whoever decodes forms reads it either way.
    """
    kind = ask.option("content_type")
    if not kind:
        return checked(await ask.send(form=form, headers=headers))
    content = urlencode(form, safe="@").encode("ascii")
    return checked(await ask.send(content=content, headers={**headers, "content-type": kind}))


async def client_credentials(ask: Ask) -> Issued:
    """RFC 6749 §4.4."""
    form, headers = proof(ask)
    return bearer(await _post(ask, {"grant_type": "client_credentials", **form, **_passed(ask)}, headers))


async def refresh_token(ask: Ask) -> Issued:
    """RFC 6749 §6; a refresh token that is not returned stays, one that is returned replaces it."""
    form, headers = proof(ask)
    former = ask.text("refresh_token")
    asked = {"grant_type": "refresh_token", "refresh_token": former, **form, **_passed(ask)}
    said = await _post(ask, asked, headers)
    issued = bearer(said)
    newer = said.get("refresh_token")
    if isinstance(newer, str) and newer and newer != former:
        issued.rotated["refresh_token"] = newer.encode("utf-8")
    return issued


async def jwt_bearer(ask: Ask) -> Issued:
    """RFC 7523 §2.1."""
    now = ask.wall()
    claims = {
        "iss": ask.named("issuer") or ask.named("client_id"), "sub": ask.option("subject") or ask.named("client_id"),
        "aud": ask.option("assertion_audience", ask.source.url), "iat": int(now), "exp": int(now + ASSERTION_SECONDS),
    }  # fmt: skip
    assertion = signed(claims, ask.secret("private_key"))
    return bearer(await ask.post(ask.source.url, {"grant_type": _JWT_BEARER, "assertion": assertion, **_passed(ask)}))


async def token_exchange(ask: Ask) -> Issued:
    """RFC 8693 §2.1."""
    form, headers = proof(ask)
    kind = ask.option("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
    asked = {
        "grant_type": _EXCHANGE, "subject_token": ask.text("subject_token"), "subject_token_type": kind,
        **form, **_passed(ask),
    }  # fmt: skip
    return bearer(await ask.post(ask.source.url, asked, headers))
