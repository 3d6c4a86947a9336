"""Mistakes in a definition that one value alone does not show."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from proxyd.catalog.auth import SCHEMES, SIGNING, secret_fields
from proxyd.catalog.credentials import SchemeSection
from proxyd.catalog.definition import Definition
from proxyd.catalog.shared import shared_suffix
from proxyd.catalog.templates import BUILT_IN, HOST, OPTION, host_text, varied
from proxyd.core.service import HostPattern
from proxyd.reading.addresses import base_url, host_pattern
from proxyd.reading.problems import Mistake, Trail, describe
from proxyd.reading.tree import Tree
from proxyd.reading.views import parsed


def check(tree: Tree, definition: Definition, stem: str) -> None:
    """Report every mistake to ``tree.problems``; ``stem`` is the name of the file without its suffix."""
    if definition.name != stem:
        tree.add(("name",), describe("the file has another name", f"'{stem}'"))
    _check_hosts(tree, definition)
    _check_options(tree, definition)
    _check_fields(tree, definition)
    for index, scheme in enumerate(definition.schemes):
        _check_scheme(tree, definition, scheme, ("schemes", index))
    _check_rest(tree, definition)


def _check_hosts(tree: Tree, definition: Definition) -> None:
    yours = definition.your_hosts
    if not definition.hosts and yours is None:
        tree.add(("hosts",), "the key is missing: the vendor's hosts, or your_hosts where only the user can name them")
    if yours is not None and not yours.suffixes and not yours.self_hosted:
        tree.add(("your_hosts",), "neither suffixes nor self_hosted: no host could be named")
    is_signed = all(each.get("scheme") in SIGNING for scheme in definition.schemes for each in scheme.apply)
    patterns: list[HostPattern] = []
    for index, template in enumerate(definition.hosts):
        for text in varied([template], definition.vary):
            pattern = parsed(host_pattern, OPTION.sub("x", text))
            suffix = shared_suffix(pattern) if pattern is not None and not is_signed else ""
            if suffix:
                tree.add(
                    ("hosts", index), f"hosts below {suffix} may be any customer's; name the suffix under your_hosts"
                )
            patterns += [pattern] if pattern is not None else []
    url = definition.base_url
    base = parsed(base_url, OPTION.sub("x", url)) if url and HOST not in OPTION.findall(url) else None
    if base and definition.hosts and not any(one.matches(base.host, base.port, any_port=True) for one in patterns):
        tree.add(("base_url",), "the host is not among hosts")


def _templates(definition: Definition) -> Iterator[tuple[Trail, Any]]:
    """Yield (trail, value) of everything in which options may stand."""
    yield ("hosts",), definition.hosts
    yield ("base_url",), definition.base_url
    yield ("probe",), [definition.probe.path, definition.probe.host, definition.probe.headers, definition.probe.body]
    for index, scheme in enumerate(definition.schemes):
        yield ("schemes", index, "apply"), scheme.apply
        if scheme.token is not None:
            yield ("schemes", index, "token"), scheme.token.model_dump()
        if scheme.connect is not None:
            yield ("schemes", index, "connect"), scheme.connect.model_dump()


def _check_options(tree: Tree, definition: Definition) -> None:
    options = {*BUILT_IN, *definition.vary, *(name for name, one in definition.fields.items() if not one.secret)}
    for trail, value in _templates(definition):
        for name in _options_in(value):
            if name not in options:
                tree.add(trail, f"{{{name}}} is no option: fields has none of this name with secret: false")
    for name in _options_in(definition.hosts):
        if name in definition.fields and not definition.fields[name].pattern:
            tree.add(("fields", name), "the option becomes part of a host; a pattern must say what it may be")


def _check_fields(tree: Tree, definition: Definition) -> None:
    used = {name for scheme in definition.schemes for name in (*scheme.fields, *scheme.optional)}
    used |= {name for _, value in _templates(definition) for name in _options_in(value)}
    for name, field in definition.fields.items():
        if name not in used:
            tree.add(("fields", name), "no scheme and no host names it", at_key=True)
        if field.default and field.secret:
            tree.add(("fields", name, "default"), "a secret has no default")
        if field.default and field.pattern and not re.fullmatch(field.pattern, field.default):
            tree.add(("fields", name, "default"), "the pattern does not fit it")


def _check_scheme(tree: Tree, definition: Definition, scheme: SchemeSection, trail: Trail) -> None:
    for key, names in (("fields", scheme.fields), ("optional", scheme.optional)):
        for index, name in enumerate(names):
            if name not in definition.fields:
                problem = describe("fields has no such entry", "", tree.nearest(name, definition.fields))
                tree.add((*trail, key, index), problem)
    connect = scheme.connect
    if connect is not None:
        if connect.stores not in (*scheme.fields, *scheme.optional):
            tree.add((*trail, "connect"), f"stores: {connect.stores} is no field of this scheme")
        if scheme.token is None and not (connect.token_url and connect.hosts):
            tree.add((*trail, "connect"), "without token, token_url and hosts are needed")
        if not (connect.device_url or connect.authorize_url):
            tree.add((*trail, "connect"), "one of device_url and authorize_url is needed, or both")
    results = scheme.token.results if scheme.token is not None else []
    known = {*scheme.fields, *scheme.optional, *results}
    for index, presentation in enumerate(scheme.apply):
        where = (*trail, "apply", index)
        word = presentation.get("scheme")
        if word not in SCHEMES:
            tree.add((*where, "scheme"), describe("not a known word", ", ".join(SCHEMES), tree.nearest(word, SCHEMES)))
        for item_trail, name in secret_fields(presentation, where):
            if name not in known:
                tree.add(item_trail, describe("no field of this scheme", ", ".join(sorted(known))))
            elif name in definition.fields and not definition.fields[name].secret:
                tree.add(item_trail, f"{name} is an option, no secret; write {{{name}}} where its value goes")
        for number, host in enumerate(presentation.get("hosts", ())):
            try:
                host_pattern(OPTION.sub("x", host_text(host)))
            except Mistake as mistake:
                tree.add((*where, "hosts", number), str(mistake))


def _check_rest(tree: Tree, definition: Definition) -> None:
    version = definition.version
    if version is not None and (version.header is None) == (version.query is None):
        tree.add(("version",), describe("none or both are given", "exactly one of header and query"))
    for index, refused in enumerate(definition.refused):
        if (refused.field is None) == (refused.host is None) or bool(refused.field) != bool(refused.pattern):
            tree.add(("refused", index), describe("that names nothing", "field and pattern, or host"))
        elif refused.field is not None and refused.field not in definition.fields:
            tree.add(("refused", index, "field"), "fields has no such entry")
    if not definition.probe.path.startswith("/"):
        tree.add(("probe", "path"), describe("not a path", "a path such as /v2/user"))


def _options_in(value: Any) -> list[str]:
    return list(dict.fromkeys(name for text in _texts(value) for name in OPTION.findall(text)))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
