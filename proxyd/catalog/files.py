"""Credentials in well-known files of a person's home. A value that stands among others is taken out by a command.

What stands in a file is read to learn for which hosts it is; values are looked at only for being there.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from proxyd.catalog.extract import (
    ExtractError,
    read_gh,
    read_git_credentials,
    read_ini,
    read_netrc,
    read_npmrc,
    read_yaml,
    value_at,
)
from proxyd.catalog.found import Findings, Proposal, Remark, Source
from proxyd.catalog.shelf import Shelf
from proxyd.catalog.summary import ANY_HOST, hosts, plain
from proxyd.catalog.variables import host_of

PROGRAM: Final = (sys.executable, "-P", "-m", "proxyd.catalog.extract")

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NPM_TOKEN: Final = re.compile(r"//([^/]+)/(.*):_authToken")

LATER: Final = (
    (
        ".config/gcloud",
        "a login of gcloud is its user's. For a daemon: a service account's key, `google: {secret: NAME}`, or "
        "`command: [gcloud, auth, print-access-token]` with `scheme: bearer` for hosts of Google that you name",
    ),
    (
        ".azure",
        "a login of az is its user's. For a daemon: an application's secret, `use: azure`, or `command: "
        "[az, account, get-access-token, --query, accessToken, --output, tsv]` with `scheme: bearer`",
    ),
    (".kube/config", "the token of a service account can be used: `use: kubernetes`, with `hosts` and `secret`"),
    (".config/pip/pip.conf", "an index URL with a password in it belongs into ~/.netrc, which init reads"),
)
"""Files and folders that are named and not used."""


def search(home: Path, variables: Mapping[str, str], findings: Findings) -> None:
    """Add what the files of ``home`` hold to ``findings``."""
    config = Path(variables.get("XDG_CONFIG_HOME") or home / ".config")
    gh = Path(variables.get("GH_CONFIG_DIR") or config / "gh")
    for path, look in (
        (gh / "hosts.yml", _gh),
        (Path(variables.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"), _aws),
        (home / ".npmrc", _npmrc),
        (home / ".pypirc", _pypirc),
        (Path(variables.get("NETRC") or home / ".netrc"), _netrc),
        (home / ".git-credentials", _git),
        (Path(variables.get("DOCKER_CONFIG") or home / ".docker") / "config.json", _docker),
    ):
        if path.is_file():
            _try(path, look, variables, findings)
    shelf = Shelf()
    for definition in (plain(path) for path in (shelf.find(name) for name in shelf.names()) if path is not None):
        for file in definition.get("files", []):
            path = home / file["path"].removeprefix("~/")
            if file.get("keys") and path.is_file():
                _try(path, partial(_of_definition, definition, file), variables, findings)
    for name, why in LATER:
        if (home / name).exists():
            findings.remarks.append(Remark(f"~/{name}", why))


def _try(
    path: Path,
    look: Callable[[Path, Mapping[str, str], Findings], None],
    variables: Mapping[str, str],
    findings: Findings,
) -> None:
    if not str(path).isprintable():
        return
    try:
        look(path, variables, findings)
    except ExtractError as error:
        findings.remarks.append(Remark(_shown(path), f"it is not read: {error}"))


def _netrc(path: Path, _: Mapping[str, str], findings: Findings) -> None:
    for host, (login, password) in read_netrc(path).items():
        _basic(path, "netrc", host, bool(login and password), findings)


def _git(path: Path, _: Mapping[str, str], findings: Findings) -> None:
    for host, (login, password) in read_git_credentials(path).items():
        _basic(path, "git-credentials", host, bool(login and password), findings)


def _basic(path: Path, kind: str, named: str, whole: bool, findings: Findings) -> None:
    """Propose Basic, which is what curl and git make of such an entry."""
    host, found = host_of(named), f"{_shown(path)}, {named}"
    if not host or not named.isprintable():
        findings.remarks.append(Remark(_shown(path), "an entry's machine is no host that a service can have"))
    elif not whole:
        findings.remarks.append(Remark(found, "the entry has no login and password"))
    else:
        name = _name(host)
        sources = tuple(
            Source(f"{name}/{part}", command=(*PROGRAM, kind, str(path), named, part)) for part in ("login", "password")
        )
        scheme = f"{{scheme: basic, user_secret: {name}/login, secret: {name}/password}}"
        findings.propose(Proposal(name, found, (host,), "", scheme, sources, encoded_slash=kind != "netrc"))


def _gh(path: Path, _: Mapping[str, str], findings: Findings) -> None:
    for host, token in read_gh(path).items():
        found = f"{_shown(path)}, {host}"
        own = "" if host == "github.com" else host_of(host)
        if host != "github.com" and not own:
            continue
        if any((own or "api.github.com") in other.hosts for other in findings.proposals):
            continue  # the variable that gh prefers is proposed already
        if not token:
            why = "gh keeps this token in the keyring, which a daemon cannot open; `gh auth token` prints it"
            findings.remarks.append(Remark(found, why))
            continue
        name = _name(own) if own else "github"
        findings.propose(
            Proposal(
                name,
                found,
                (own,) if own else ("api.github.com", "github.com"),
                "",
                "",
                (Source(f"{name}/token", command=(*PROGRAM, "gh", str(path), host)),),
                use="github",
                secret=f"{name}/token",
                own_hosts=bool(own),
            )
        )


def _aws(path: Path, variables: Mapping[str, str], findings: Findings) -> None:
    """Propose the keys of the profile that AWS's tools would take."""
    if any(other.use == "aws" for other in findings.proposals):
        return  # variables come before the file, as for AWS's own tools
    parser, profile = read_ini(path), variables.get("AWS_PROFILE") or "default"
    found = f"{_shown(path)}, [{profile}]"
    keys = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key"}
    if not all(parser.get(profile, key, fallback="") for key in keys.values()) or not profile.isprintable():
        findings.remarks.append(Remark(found, "that profile has no access key and secret here"))
        return
    keys |= {"session_token": "aws_session_token"} if parser.get(profile, "aws_session_token", fallback="") else {}
    names = {field: f"aws/{field.replace('_', '-')}" for field in keys}
    sources = tuple(
        Source(names[field], command=(*PROGRAM, "ini", str(path), profile, key)) for field, key in keys.items()
    )
    secret = "{" + ", ".join(f"{field}: {name}" for field, name in names.items()) + "}"
    findings.propose(Proposal("aws", found, ("*.amazonaws.com",), "", "", sources, use="aws", secret=secret))


def _of_definition(
    definition: Mapping[str, Any], file: Mapping[str, Any], path: Path, _: Mapping[str, str], findings: Findings
) -> None:
    """Propose a service by what a definition says of its official tool's file."""
    name, found = definition["name"], _shown(path)
    if any(name in (other.use, other.service) for other in findings.proposals):
        return  # variables come before files
    read = _ini_value if file["reader"] == "ini" else _yaml_value
    has = {field: keys for field, keys in file["keys"].items() if read(path, keys)}
    if not has or not all(text.isprintable() for keys in has.values() for text in keys):
        return
    scheme = next((one for one in definition["schemes"] if set(one.get("fields", ())) == set(has)), None)
    host = host_of(read(path, file["host"])) if file.get("host") else ""
    if scheme is None or (file.get("host") and not host):
        findings.remarks.append(Remark(found, f"{name}: it does not hold all that the service needs"))
        return
    names = {field: f"{name}/{field.replace('_', '-')}" for field in has}
    sources = tuple(
        Source(names[field], command=(*PROGRAM, file["reader"], str(path), *keys)) for field, keys in has.items()
    )
    secret = "{" + ", ".join(f"{field}: {secret}" for field, secret in names.items()) + "}"
    own = tuple(one for one in hosts(definition) if one != ANY_HOST)
    findings.propose(
        Proposal(name, found, (host,) if host else own, "", "", sources, use=name, secret=secret, own_hosts=bool(host))
    )


def _ini_value(path: Path, keys: Sequence[str]) -> str:
    return str(read_ini(path).get(keys[0], keys[1], fallback="")) if len(keys) == 2 else ""


def _yaml_value(path: Path, keys: Sequence[str]) -> str:
    return value_at(read_yaml(path), keys)


def _npmrc(path: Path, variables: Mapping[str, str], findings: Findings) -> None:
    pairs = read_npmrc(path)
    for key, value in pairs.items():
        match = _NPM_TOKEN.fullmatch(key)
        if match is None:
            if key.endswith((":_auth", ":_password")):
                why = "an _auth or _password entry: write that service by hand with `scheme: basic`"
                findings.remarks.append(Remark(_shown(path), why))
            continue
        host = host_of(match[1])
        if not host or not key.isprintable() or not value:
            continue
        reference = _REFERENCE.fullmatch(value)
        name = _name(host)
        if reference is None:
            source = Source(f"{name}/token", command=(*PROGRAM, "npmrc", str(path), key))
        elif variables.get(reference[1]):
            source = Source(f"{name}/token", env=reference[1])
        else:
            why = f"it names the variable {reference[1]}, which is not set; set it and run init again"
            findings.remarks.append(Remark(f"{_shown(path)}, {host}", why))
            continue
        findings.propose(
            Proposal(
                name,
                f"{_shown(path)}, {host}",
                (host,),
                f"https://{host}/{match[2].strip('/')}".rstrip("/"),
                f"{{scheme: bearer, secret: {name}/token}}",
                (source,),
                encoded_slash=True,
                note="npm insists on a token of its own: leave any text in .npmrc, it is replaced.",
            )
        )


def _pypirc(path: Path, _: Mapping[str, str], findings: Findings) -> None:
    parser = read_ini(path)
    for section in parser.sections():
        if not parser.get(section, "password", fallback="") or not section.isprintable():
            continue
        host = host_of(parser.get(section, "repository", fallback=""))
        found = f"{_shown(path)}, [{section}]"
        if not host:
            why = "it names no https repository; add `repository = https://…/` there and run init again"
            findings.remarks.append(Remark(found, why))
            continue
        name = _name(host)
        sources = tuple(
            Source(f"{name}/{part}", command=(*PROGRAM, "ini", str(path), section, part))
            for part in ("username", "password")
        )
        scheme = f"{{scheme: basic, user_secret: {name}/username, secret: {name}/password}}"
        findings.propose(Proposal(name, found, (host,), "", scheme, sources))


def _docker(path: Path, _: Mapping[str, str], findings: Findings) -> None:
    try:
        auths = json.loads(path.read_bytes()).get("auths") or {}
        hosts = sorted(host for host in auths if isinstance(host, str) and host.isprintable())
    except (OSError, ValueError, AttributeError, TypeError):
        raise ExtractError(f"{path}: not a Docker configuration") from None
    if hosts:
        why = f"registries ({', '.join(hosts)}): write a service for each, `use: docker` with its host in `hosts`"
        findings.remarks.append(Remark(_shown(path), why))


def _name(host: str) -> str:
    """Return a service's name for ``host``."""
    return host.replace(":", "-")


def _shown(path: Path) -> str:
    home = Path(os.path.expanduser("~"))
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
