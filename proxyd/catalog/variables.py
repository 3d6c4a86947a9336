"""Credentials in environment variables: which services they are for, by their names alone."""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from proxyd.catalog.found import Findings, Proposal, Remark, Source
from proxyd.catalog.known import KNOWN, UNUSABLE, Field, Known

_LOOKS_SECRET: Final = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH_?KEY|PAT)($|_)"
)
_POINTS_ELSEWHERE: Final = re.compile(r"_(FILE|PATH|DIR|URL|URI|HOST|NAME|ID|SOCK|TTL|EXPIRES?|EXPIRATION)$")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_HOST: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9]([a-z0-9-]{0,62}))*")


def search(variables: Mapping[str, str], findings: Findings) -> None:
    """Add what ``variables`` hold to ``findings``."""
    present = {name for name, value in variables.items() if value and _NAME.fullmatch(name)}
    used: set[str] = set()
    for known in KNOWN:
        used |= {name for field in known.fields for name in field.variables}
        _propose(known, variables, present, findings)
    for name, why in UNUSABLE.items():
        if name in present:
            findings.remarks.append(Remark(name, why))
    findings.unknown += sorted(
        name
        for name in present - used - UNUSABLE.keys()
        if _LOOKS_SECRET.search(name.upper()) and not _POINTS_ELSEWHERE.search(name.upper())
    )


def host_of(text: str) -> str:
    """Return the host, with its port where that is no default, of a URL or bare host; empty if it is neither.

    Only https: a credential does not go over plain http unasked. Userinfo and path are dropped.
    """
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        port = url.port
    except ValueError:
        return ""
    host = (url.hostname or "").rstrip(".")
    if url.scheme != "https" or not _HOST.fullmatch(host):
        return ""
    return host if port in (None, 443) else f"{host}:{port}"


def auth(known: Known, fields: Iterable[Field]) -> str:
    """Return the ``auth`` map of a service in YAML's flow form."""
    chosen = list(fields)
    if known.scheme == "basic":
        user, password = chosen
        return f"{{scheme: basic, user_secret: {user.secret}, secret: {password.secret}}}"
    if known.scheme == "bearer":
        return f"{{scheme: bearer, secret: {chosen[0].secret}}}"
    parts = [
        f"name: {field.header}, secret: {field.secret}" + (f', prefix: "{field.prefix}"' if field.prefix else "")
        for field in chosen
    ]
    if len(parts) == 1:
        return f"{{scheme: header, {parts[0]}}}"
    return "{scheme: header, headers: [" + ", ".join(f"{{{part}}}" for part in parts) + "]}"


def _propose(known: Known, variables: Mapping[str, str], present: set[str], findings: Findings) -> None:
    chosen: list[tuple[Field, str]] = []
    missing: list[Field] = []
    for field in known.fields:
        name = next((name for name in field.variables if name in present), "")
        if name:
            chosen.append((field, name))
        elif not field.optional:
            missing.append(field)
    if not chosen or any(field.optional for field, _ in chosen[:1]):
        return
    found = ", ".join(name for _, name in chosen)
    if missing:
        wanted = " and ".join(" or ".join(field.variables) for field in missing)
        findings.remarks.append(Remark(found, f"{known.name}: {wanted} is needed as well; set it and run init again"))
        return
    hosts, base_url = known.hosts, known.base_url
    pointer = next((name for name in known.url_variables if name in present), "")
    if pointer:
        host = host_of(variables[pointer])
        if not host:
            why = f"{known.name}: {pointer} is no https URL or host; mend it and run init again"
            findings.remarks.append(Remark(found, why))
            return
        if host not in hosts:
            hosts, base_url = (host,), f"https://{host}{known.path}"
    if not hosts:
        why = f"{known.name}: {' or '.join(known.url_variables)} must say where; set it and run init again"
        findings.remarks.append(Remark(found, why))
        return
    findings.propose(
        Proposal(
            known.name,
            found,
            hosts,
            base_url,
            auth(known, [field for field, _ in chosen]),
            tuple(Source(field.secret, env=name) for field, name in chosen),
            known.encoded_slash,
            known.note,
        )
    )
