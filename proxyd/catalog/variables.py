"""Credentials in environment variables: which services of the catalogue they are for, by the variables' names alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from proxyd.catalog.found import Findings, Proposal, Remark, Source
from proxyd.catalog.shelf import Shelf
from proxyd.catalog.summary import ANY_HOST, environment, hosts, plain

_LOOKS_SECRET: Final = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH_?KEY|PAT)($|_)"
)
_POINTS_ELSEWHERE: Final = re.compile(r"_(FILE|PATH|DIR|URL|URI|HOST|NAME|ID|SOCK|TTL|EXPIRES?|EXPIRATION)$")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_HOST: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9]([a-z0-9-]{0,62}))*")

_NOT_HTTP: Final = "it is no credential of an HTTP service; proxyd leaves it alone"
UNUSABLE: Final = {
    "DOCKER_AUTH_CONFIG": "it holds credentials of several registries: write a service for each, see `use: docker`",
    "SENTRY_DSN": "a DSN's key is public; the SDK sends it by itself and needs no service here",
    "TELEGRAM_BOT_TOKEN": "it goes into the path of the URL, where proxyd cannot put it",
    "PGPASSWORD": _NOT_HTTP,
    "MYSQL_PWD": _NOT_HTTP,
    "DATABASE_URL": _NOT_HTTP,
    "REDIS_URL": _NOT_HTTP,
    "REDIS_PASSWORD": _NOT_HTTP,
    "PROXYD_VAULT_KEY": "it opens proxyd's own vault",
    "PROXYD_VAULT_PASSPHRASE": "it opens proxyd's own vault",
}
"""Variables that are known and cannot be used, and why."""


@dataclass(slots=True)
class _Given:
    """What the variables give for one definition."""

    sources: dict[str, Source] = field(default_factory=dict)
    """By field."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def found(self) -> str:
        """The variables, for a person."""
        return ", ".join(source.env or source.file_variable for source in self.sources.values())


def search(variables: Mapping[str, str], findings: Findings) -> None:
    """Add what ``variables`` hold to ``findings``."""
    present = {name for name, value in variables.items() if value and _NAME.fullmatch(name)}
    used: set[str] = set()
    for definition in _definitions():
        used |= set(environment(definition))
        _propose(definition, variables, present, findings)
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


def _definitions() -> list[dict[str, Any]]:
    shelf = Shelf()
    return [plain(path) for path in (shelf.find(name) for name in shelf.names()) if path is not None]


def _propose(definition: dict[str, Any], variables: Mapping[str, str], present: set[str], findings: Findings) -> None:
    given = _given(definition, variables, present)
    if not given.sources:
        return
    scheme = next((one for one in definition["schemes"] if _fits(one, given)), None)
    if scheme is None:
        _report_missing(definition, given, findings)
        return
    where = _hosts(definition, scheme, given, variables, present)
    if isinstance(where, str):
        findings.remarks.append(Remark(given.found, where))
        return
    wanted = [name for name in (*scheme.get("fields", ()), *(scheme.get("optional") or ())) if name in given.sources]
    chosen = [given.sources[name] for name in wanted]
    sole = len(wanted) == 1 and len(_secrets_of(scheme, definition)) == 1
    found = ", ".join(source.env or source.file_variable for source in chosen)
    findings.propose(
        Proposal(
            definition["name"],
            found,
            tuple(where) or tuple(host for host in hosts(definition) if host != ANY_HOST),
            "",
            "",
            tuple(chosen),
            note=definition.get("about", ""),
            use=definition["name"],
            secret=chosen[0].secret if sole else _map({name: given.sources[name].secret for name in wanted}),
            options=tuple(given.options.items()),
            own_hosts=bool(where),
        )
    )


def _given(definition: dict[str, Any], variables: Mapping[str, str], present: set[str]) -> _Given:
    given = _Given()
    for name, said in definition["fields"].items():
        secret = f"{definition['name']}/{name.replace('_', '-')}"
        variable = next((one for one in said.get("environment", ()) if one in present), "")
        pointer = next((one for one in said.get("environment_files", ()) if one in present), "")
        if not said.get("secret", True):
            value = variables.get(variable, "")
            if variable and re.fullmatch(said.get("pattern", ".*"), value) and value != said.get("default"):
                given.options[name] = value
        elif variable:
            given.sources[name] = Source(secret, env=variable)
        elif pointer and variables[pointer].startswith("/"):
            given.sources[name] = Source(secret, file=variables[pointer], file_variable=pointer)
    return given


def _fits(scheme: dict[str, Any], given: _Given) -> bool:
    """Whether what was found is all that ``scheme`` needs; one that uses nothing of it was not asked for."""
    named = {*scheme.get("fields", ()), *(scheme.get("optional") or ())}
    return not _missing(scheme, given) and not named.isdisjoint(given.sources)


def _missing(scheme: dict[str, Any], given: _Given) -> list[str]:
    return [name for name in scheme.get("fields", ()) if name not in given.sources and name not in given.options]


def _secrets_of(scheme: dict[str, Any], definition: dict[str, Any]) -> list[str]:
    return [name for name in scheme.get("fields", ()) if definition["fields"][name].get("secret", True)]


def _report_missing(definition: dict[str, Any], given: _Given, findings: Findings) -> None:
    """Say what the scheme lacks that has the most of what was found."""
    fields = definition["fields"]
    nearest = min(
        definition["schemes"],
        key=lambda scheme: (-len(given.sources.keys() & set(scheme.get("fields", ()))), len(_missing(scheme, given))),
    )
    wanted = []
    for name in _missing(nearest, given):
        names = " or ".join(fields[name].get("environment", ()))
        wanted.append(names or f"{fields[name]['title']} (no variable is known for it)")
    why = f"{definition['name']}: {' and '.join(wanted)} is needed as well; set it and run init again"
    findings.remarks.append(Remark(given.found, why))


def _hosts(
    definition: dict[str, Any],
    scheme: dict[str, Any],
    given: _Given,
    variables: Mapping[str, str],
    present: set[str],
) -> list[str] | str:
    """Return the user's hosts, none where the vendor's own do, or why it is not known where the service is."""
    name, own = definition["name"], hosts(definition)
    urls = (definition.get("environment") or {}).get("urls", []) if "your_hosts" in definition else []
    pointer = next((one for one in urls if one in present), "")
    if pointer:
        host = host_of(variables[pointer])
        if not host:
            return f"{name}: {pointer} is no https URL or host; mend it and run init again"
        if host not in own:
            return [host]
    yours = definition.get("your_hosts") or {}
    if yours.get("required") or scheme.get("own_host") or not [host for host in own if host != ANY_HOST]:
        if pointer:
            return [host_of(variables[pointer])]
        if urls:
            return f"{name}: {' or '.join(urls)} must say where; set it and run init again"
        secrets = _map({field: source.secret for field, source in given.sources.items()})
        return f"{name}: its host is not known here; write {name}: {{hosts: […], secret: {secrets}}}"
    return []


def _map(names: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in names.items()) + "}"
