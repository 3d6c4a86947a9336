"""``use`` and ``secret`` of a service: what the catalogue knows is put into its section before that is read.

Whatever stands in the section wins. What is put there is checked like everything else; where it is wrong together with
what the user wrote, the message stands at the section.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from proxyd.catalog.credentials import SchemeSection
from proxyd.catalog.definition import Definition
from proxyd.catalog.load import load
from proxyd.catalog.shared import shared_suffix
from proxyd.catalog.shelf import SHIPPED, Shelf
from proxyd.catalog.templates import BUILT_IN, HOST, OPTION, fill, varied
from proxyd.config.choice import Given, choose, given_of, missing_field
from proxyd.config.consents import consent
from proxyd.config.credentials import USES, Expansion, is_use
from proxyd.config.known import known
from proxyd.config.presentation import presentations
from proxyd.config.use import Use
from proxyd.core.resilience import RetryPolicy
from proxyd.core.service import BaseUrl, HostPattern, TokenRefusal
from proxyd.core.settings import SecretForm, TokenSource
from proxyd.core.vendor import VendorDefinition
from proxyd.reading.addresses import base_url, host_pattern
from proxyd.reading.names import TOKEN
from proxyd.reading.problems import ConfigError, Trail, describe
from proxyd.reading.tree import Tree
from proxyd.reading.views import child, entries, items, parsed

_RETRIED: Final = re.compile("408|409|425|429|5[0-9][0-9]")


def expand(tree: Tree, folder: Path) -> Expansion:
    """Put the definitions into the services that use them. Mistakes are in ``tree.problems``."""
    wanted = [item for item in entries(child(tree.value, "services"), ("services",)) if is_use(item[2])]
    shelf = _shelf(tree, folder)
    found = ((name, _expanded(tree, trail, name, service, shelf)) for trail, name, service in wanted)
    uses = {name: use for name, use in found if use is not None}
    tokens = (_token_source(name, use, tree.line(("services", name))) for name, use in uses.items())
    consents = (consent(name, use, tree.line(("services", name))) for name, use in uses.items())
    forms: dict[str, SecretForm] = {}
    for use in uses.values():
        forms = {**_forms(use), **forms}
    return Expansion(
        tuple(source for source in tokens if source is not None),
        tuple(one for one in consents if one is not None),
        forms,
        tuple(known(name, use) for name, use in uses.items()),
        {name: _vendor(use.definition) for name, use in uses.items()},
        {name: refusal for name, use in uses.items() if (refusal := _refusal(use)) is not None},
        frozenset(name for name, use in uses.items() if use.is_shipped and use.scheme is not None),
    )


def _token_source(name: str, use: Use, line: int) -> TokenSource | None:
    """Return where the tokens of a service come from; None: its scheme has no flow."""
    if use.scheme is None or use.scheme.token is None:
        return None
    flow = use.scheme.token
    further = {key: fill(value, use.values) for key, value in flow.options.items()}
    options = {**{key: value for key, value in further.items() if not OPTION.search(value)}, **use.given.options}
    return TokenSource(
        name=use.token,
        service=name,
        flow=flow.flow,
        url=fill(flow.url or "", use.values),
        secrets=tuple(use.given.of_scheme(use.scheme, use.definition).items()),
        options=tuple(options.items()),
        hosts=_filled(flow.hosts, use),
        realms=_filled(flow.realms, use),
        connects=use.scheme.connect is not None,
        line=line,
    )


def _refusal(use: Use) -> TokenRefusal | None:
    """Return how the vendor says, beside 401, that a token is over."""
    if use.scheme is None or use.scheme.token is None or use.scheme.token.refused is None:
        return None
    said = use.scheme.token.refused
    return TokenRefusal(tuple(said.statuses), tuple(said.codes))


def _filled(hosts: Sequence[str], use: Use) -> tuple[str, ...]:
    """Return hosts with options in their places, without those whose option was not given."""
    filled = (fill(host, use.values) for host in varied(hosts, use.definition.vary))
    return tuple(dict.fromkeys(host for host in filled if not OPTION.search(host)))


def _forms(use: Use) -> dict[str, SecretForm]:
    """Return what is known of the secrets of a service."""
    definition = use.definition
    secrets = use.given.of_scheme(use.scheme, definition) if use.scheme is not None else {}
    return {
        secret: SecretForm(
            field.title,
            field.where,
            field.kind,
            field.pattern,
            tuple((refused.pattern, refused.why) for refused in definition.refused if refused.field == name),
        )
        for name, secret in secrets.items()
        if (field := definition.fields.get(name)) is not None
    }


def _vendor(definition: Definition) -> VendorDefinition:
    limits = definition.limits
    return VendorDefinition(definition.name, tuple(limits.statuses), tuple(limits.codes), limits.pause)


def _shelf(tree: Tree, folder: Path) -> Shelf:
    places: list[Path] = []
    for trail, text in items(child(tree.value, "catalogue"), ("catalogue",)):
        if isinstance(text, str) and text:
            path = folder / text
            if path.exists():
                places.append(path)
            else:
                tree.add(trail, "there is no such file or folder")
    return Shelf(places)


def _expanded(tree: Tree, trail: Trail, name: str, service: dict[str, Any], shelf: Shelf) -> Use | None:
    path = _path(tree, trail, name, service, shelf)
    definition = _definition(tree, path) if path is not None else None
    if path is None or definition is None:
        return None
    if "auth" in service and "secret" in service:
        problem = "auth says how the credential is presented, and secret leaves that to the definition"
        tree.add((*trail, "secret"), describe(problem, "one of the two"), at_key=True)
        return None
    given = given_of(tree, trail, service, definition)
    scheme = choose(tree, trail, service, definition, given) if "auth" not in service else None
    hosts = _hosts(tree, trail, service, definition, given, scheme)
    base = _base_url(tree, trail, service, definition, given, hosts)
    token = f"{TOKEN}{name}" if scheme is not None and scheme.token else ""
    use = Use(definition, scheme, given, hosts, base, token, path.parent == SHIPPED)
    _fill_in(tree, trail, service, use)
    return use


def _path(tree: Tree, trail: Trail, name: str, service: dict[str, Any], shelf: Shelf) -> Path | None:
    where = (*trail, "use") if "use" in service else trail
    wanted = service.get("use", name)
    if not isinstance(wanted, str):
        return None  # the models say so
    path = shelf.find(wanted)
    if path is None:
        problem = "the catalogue has no service of this name"
        hint = tree.nearest(wanted, shelf.names())
        if "use" in service:
            expected = "" if hint else "a name that `proxyd services --catalogue` lists"
        else:
            key = next(key for key in USES if key in service)
            problem += f", and {key} is for those that it has"
            expected = "use: beside it with the name that it has there, or auth in place of secret"
        tree.add(where, describe(problem, expected, hint), at_key="use" not in service)
    return path


def _definition(tree: Tree, path: Path) -> Definition | None:
    try:
        return load(path)
    except ConfigError as error:
        tree.problems += error.problems
        return None


def _hosts(
    tree: Tree,
    trail: Trail,
    service: dict[str, Any],
    definition: Definition,
    given: Given,
    scheme: SchemeSection | None,
) -> tuple[str, ...]:
    """Return the service's hosts: the user's, else the vendor's as far as options tell them."""
    yours = definition.your_hosts
    if "hosts" not in service:
        if yours is not None and (yours.required or not definition.hosts or (scheme is not None and scheme.own_host)):
            example = f", such as {yours.example}" if yours.example else ""
            about = f" {yours.about}" if yours.about else ""
            problem = f"the key is missing: only you know the host of {definition.title}{example}.{about}"
            tree.add((*trail, "hosts"), problem)
            return ()
        filled = [fill(host, given.options) for host in varied(definition.hosts, definition.vary)]
        return tuple(host for host in filled if not OPTION.search(host))
    found: list[str] = []
    for item_trail, text in items(service["hosts"], (*trail, "hosts")):
        pattern = parsed(host_pattern, text)
        if pattern is None:
            continue
        found.append(str(pattern))
        _check_host(tree, item_trail, pattern, definition)
    return tuple(found)


def _check_host(tree: Tree, trail: Trail, pattern: HostPattern, definition: Definition) -> None:
    """Report a host where a label may be another customer's, and one that the vendor has given up."""
    yours = definition.your_hosts
    suffixes = [suffix.removeprefix("*.") for suffix in (yours.suffixes if yours is not None else ())]
    own = next((suffix for suffix in suffixes if pattern.host == suffix or pattern.host.endswith(f".{suffix}")), "")
    if own and (pattern.wildcard or pattern.host == own):
        example = yours.example if yours is not None else ""
        problem = f"customers of {definition.title} choose the names below {own}, so this covers hosts of others"
        tree.add(trail, describe(problem, f"your whole host{f', such as {example}' if example else ''}"))
    elif pattern.wildcard and (suffix := shared_suffix(pattern)):
        tree.add(trail, describe(f"names below {suffix} are anybody's, so this covers hosts of others", "a whole host"))
    for refused in definition.refused:
        dead = parsed(host_pattern, refused.host) if refused.host is not None else None
        if dead is not None and dead.host == pattern.host:
            tree.add(trail, refused.why)


def _fill_in(tree: Tree, trail: Trail, service: dict[str, Any], use: Use) -> None:
    definition = use.definition
    if use.hosts:
        service.setdefault("hosts", list(use.hosts))
    if use.base:
        service.setdefault("base_url", use.base)
    if definition.encoded_slash:
        service.setdefault("encoded_slash", True)
    if use.scheme is not None and use.scheme.token is not None:
        for option in dict.fromkeys(OPTION.findall(fill(use.scheme.token.url or "", use.values))):
            if option not in BUILT_IN:
                missing_field(tree, trail, definition, option)
    if definition.version is not None and "version" not in service:
        service["version"] = definition.version.model_dump(exclude_none=True)
    if use.scheme is not None and use.hosts:
        auth = presentations(definition, use.scheme, use.names, use.hosts)
        if auth:
            service["auth"] = auth
        else:
            problem = f"the definition of {definition.title} sends the credential to none of these hosts"
            tree.add((*trail, "hosts"), describe(problem, "the vendor's hosts, or auth in place of secret"))
    _fill_in_retry(service, definition)


def _fill_in_retry(service: dict[str, Any], definition: Definition) -> None:
    statuses = [str(status) for status in definition.retry.statuses if _RETRIED.fullmatch(str(status))]
    retry = service.get("retry", {})
    if not isinstance(retry, dict) or not (statuses or definition.idempotency):
        return
    added: dict[str, Any] = {}
    if statuses:
        added["on"] = list(dict.fromkeys([*RetryPolicy().on, *statuses]))
    if definition.idempotency is not None and "idempotency" not in service:
        added["idempotency_key"] = definition.idempotency.header
    service["retry"] = {**added, **retry}


def _base_url(
    tree: Tree, trail: Trail, service: dict[str, Any], definition: Definition, given: Given, hosts: Sequence[str]
) -> str:
    """Return the service's base URL: the user's, else what the definition gives on the service's hosts."""
    if "base_url" in service or not hosts:
        url = service.get("base_url")
        return url if isinstance(url, str) else ""
    url = fill(definition.base_url or "", {**given.options, HOST: hosts[0]})
    missing = OPTION.findall(url)
    if missing:
        missing_field(tree, trail, definition, missing[0])
        return ""
    if not url and "hosts" not in service:
        url = f"https://{hosts[0]}" if not hosts[0].startswith("*") else ""
    base = parsed(base_url, url) if url else None
    patterns = [pattern for pattern in (parsed(host_pattern, text) for text in hosts) if pattern is not None]
    if base is not None and _covers(patterns, base):
        return url
    if "hosts" not in service:
        return url
    first = next((pattern for pattern in patterns if not pattern.wildcard), None)
    if first is None:
        return ""
    path = definition.your_hosts.base_path if definition.your_hosts is not None else ""
    scheme = "http" if first.port == 80 else "https"
    return f"{scheme}://{first!s}{path}"


def _covers(patterns: list[HostPattern], base: BaseUrl) -> bool:
    return any(pattern.matches(base.host, base.port, any_port=True) for pattern in patterns)
