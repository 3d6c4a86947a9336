"""Temporary keys of AWS: a role that is assumed, a web identity, and what machines and containers are given.

A result is the three fields that a signature needs; they come and go together. Answers of STS are XML, of which four
plain elements are read and nothing is parsed.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, API_AssumeRoleWithWebIdentity.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from proxyd.auth.sigv4 import SigV4
from proxyd.core.exchange import Outgoing
from proxyd.core.service import Auth
from proxyd.tokens.client import Answer
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask, Issued
from proxyd.tokens.vendors import until

RESULTS: Final = ("issued_key_id", "issued_key", "issued_session")

_VERSION: Final = "2011-06-15"
_FORM: Final = "application/x-www-form-urlencoded"
_METADATA: Final = "http://169.254.169.254"
_METADATA_LIFE: Final = "21600"
_ELEMENT: Final = r"<{}>\s*([!-;=-~]{{1,16384}}?)\s*</{}>"
_ROLE: Final = re.compile(r"[\w+=,.@-]{1,128}").fullmatch
_TRANSIENT: Final = frozenset({"Throttling", "ThrottlingException", "RequestTimeTooSkewed", "IDPCommunicationError"})


async def assume_role(ask: Ask) -> Issued:
    """A role, by keys of a user or of another role; the question itself is signed with them."""
    form = {"Action": "AssumeRole", **_role(ask)}
    for parameter, option in (("ExternalId", "external_id"), ("Policy", "policy")):
        if ask.option(option):
            form[parameter] = ask.option(option)
    return await _sts(ask, form, is_signed=True)


async def web_identity(ask: Ask) -> Issued:
    """A role, by a token of an identity provider (EKS, GitHub Actions); the question is not signed."""
    token = ask.text("web_identity_token").strip()
    return await _sts(ask, {"Action": "AssumeRoleWithWebIdentity", **_role(ask), "WebIdentityToken": token})


async def instance(ask: Ask) -> Issued:
    """The role of this EC2 machine, by IMDSv2 alone."""
    base = ask.source.url or _METADATA
    session = await _metadata(
        ask, f"{base}/latest/api/token", "PUT", {"x-aws-ec2-metadata-token-ttl-seconds": _METADATA_LIFE}
    )
    headers = {"x-aws-ec2-metadata-token": session.body.decode("latin-1").strip()}
    listed = f"{base}/latest/meta-data/iam/security-credentials/"
    name = ask.option("role")
    if not name:
        names = (await _metadata(ask, listed, "GET", headers)).body.decode("latin-1").split()
        name = names[0] if names else ""
    if not _ROLE(name):
        raise TokenError("this machine has no role (an instance profile)", is_final=True)
    return _from_json((await _metadata(ask, listed + name, "GET", headers)).json(), ask)


async def container(ask: Ask) -> Issued:
    """The role of this task of ECS, or of this pod of EKS (Pod Identity)."""
    headers = {"authorization": ask.text("container_token").strip()} if ask.has("container_token") else {}
    return _from_json((await _metadata(ask, ask.option("credentials_uri"), "GET", headers)).json(), ask)


# --- questions ------------------------------------------------------------------------------------


def _role(ask: Ask) -> dict[str, str]:
    return {
        "Version": _VERSION,
        "RoleArn": ask.option("role_arn"),
        "RoleSessionName": ask.option("session_name", "proxyd"),
        "DurationSeconds": ask.option("duration", "3600"),
    }


async def _sts(ask: Ask, form: Mapping[str, str], *, is_signed: bool = False) -> Issued:
    url = ask.source.url or _endpoint(ask.option("region"))
    content = urlencode(form).encode("ascii")
    headers = {"content-type": _FORM, "accept": "text/xml"}
    if is_signed:
        headers |= _signed(ask, urlsplit(url).netloc, content)
    answer = await ask.client.ask(url, ask.source.hosts, content=content, headers=headers)
    text = answer.body.decode("utf-8", "replace")
    if answer.status != 200:
        raise _refusal(answer.status, _element(text, "Code"))
    keys = _element(text, "AccessKeyId"), _element(text, "SecretAccessKey"), _element(text, "SessionToken")
    return _issued(keys, _element(text, "Expiration"), ask)


def _endpoint(region: str) -> str:
    """Return the region's STS; without a region the one that answers for us-east-1."""
    if not region:
        return "https://sts.amazonaws.com/"
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _signed(ask: Ask, host: str, content: bytes) -> dict[str, str]:
    """Return the fields that sign a form for STS."""
    names = ("access_key_id", "secret_access_key", *(("session_token",) if ask.has("session_token") else ()))
    options = (("service", "sts"), ("region", ask.option("region") or "us-east-1"))
    signer = SigV4(Auth("sigv4", secrets=tuple((name, name) for name in names), options=options))
    sent = [(b"content-type", _FORM.encode("ascii"))]
    made = Outgoing(b"POST", b"https", host.encode("ascii"), sent, b"/", content, len(content), ask.wall())
    try:
        signer.sign(made, {name: ask.secret(name) for name in names})
    except ValueError as error:
        raise TokenError(str(error), is_final=True) from None
    return {name.decode("ascii"): value.decode("latin-1") for name, value in made.headers}


async def _metadata(ask: Ask, url: str, method: str, headers: Mapping[str, str]) -> Answer:
    answer = await ask.client.ask(url, ask.source.hosts, method=method, headers=headers)
    if answer.status != 200:
        raise _refusal(answer.status, "")
    return answer


# --- answers --------------------------------------------------------------------------------------


def _from_json(said: Mapping[str, Any], ask: Ask) -> Issued:
    if said.get("Code", "Success") != "Success":
        raise TokenError(f"the metadata server says {str(said['Code'])[:64]!r}")
    keys = said.get("AccessKeyId"), said.get("SecretAccessKey"), said.get("Token")
    return _issued(keys, said.get("Expiration"), ask)


def _issued(keys: tuple[object, object, object], expiration: object, ask: Ask) -> Issued:
    values = {}
    for name, value in zip(RESULTS, keys, strict=True):
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise TokenError("the answer of AWS has no temporary keys")
        values[name] = value.encode("ascii")
    return Issued(values, until(expiration, ask))


def _element(text: str, name: str) -> str:
    match = re.search(_ELEMENT.format(name, name), text)
    return match[1] if match is not None else ""


def _refusal(status: int, code: str) -> TokenError:
    words = f" {code[:64]}" if code else ""
    is_final = 400 <= status < 500 and status not in (408, 429) and code not in _TRANSIENT
    return TokenError(f"AWS answered {status}{words}", is_final=is_final)
