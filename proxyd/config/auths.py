"""The credentials of a service: contradictions in their sections, and what they compile to."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from proxyd.catalog.auth import (
    AnyAuth,
    BasicAuth,
    BearerAuth,
    BodyAuth,
    ChallengeAuth,
    CookieAuth,
    HeaderAuth,
    HmacAuth,
    QueryAuth,
    SigningAuth,
    secret_fields,
)
from proxyd.core.service import Auth, AuthPart, HostPattern
from proxyd.reading.addresses import host_pattern
from proxyd.reading.names import TOKEN, header_name
from proxyd.reading.problems import Trail, describe
from proxyd.reading.tree import Tree
from proxyd.reading.views import child, entries, items, maps, parsed


def check_auths(tree: Tree, trail: Trail, service: dict[str, Any], patterns: list[HostPattern]) -> None:
    """Report what only several values show; ``patterns`` are the service's hosts."""
    everywhere: Trail | None = None
    for where, auth in sections(service, trail):
        if everywhere is not None:
            problem = f"it is never used: the one on line {tree.line(everywhere)} applies to every request"
            tree.add(where, describe(problem, "hosts or paths there, or the other order"))
        _check_scheme(tree, where, auth)
        for item_trail, text in items(auth.get("hosts"), (*where, "hosts")):
            pattern = parsed(host_pattern, text)
            if pattern is not None and patterns and not any(_covers(one, pattern) for one in patterns):
                tree.add(item_trail, "the host is not among this service's hosts; a credential goes nowhere else")
        if "hosts" not in auth and "paths" not in auth and everywhere is None:
            everywhere = where


def sections(service: dict[str, Any], trail: Trail) -> Iterator[tuple[Trail, dict[str, Any]]]:
    """Yield (trail, map) for each ``auth`` section of a service."""
    auth = service.get("auth")
    if isinstance(auth, dict):
        yield (*trail, "auth"), auth
    else:
        yield from maps(auth, (*trail, "auth"))


def check_tokens(tree: Tree, yielded: Collection[str]) -> None:
    """Report credentials that name a token which no flow yields; ``yielded`` are names of sources."""
    for trail, _, service in entries(child(tree.value, "services"), ("services",)):
        for where, auth in sections(service, trail):
            for item_trail, name in secret_fields(auth, where):
                if name.startswith(TOKEN) and name not in yielded and name.rpartition("/")[0] not in yielded:
                    problem = "no service of this name uses a scheme with a flow that yields it"
                    tree.add(item_trail, describe(problem, "", tree.nearest(name, yielded)))


def check_schemes(tree: Tree, shipped: Collection[str]) -> None:
    """Report what schemes that sign or place say of what they are given, but where a definition that was tested with
    them gives it: in the services ``shipped``.
    """
    for trail, name, service in entries(child(tree.value, "services"), ("services",)):
        if name not in shipped:
            for where, auth in sections(service, trail):
                if isinstance(auth.get("secrets"), dict):
                    _check_secrets(tree, where, auth)


def credential_fields(service: dict[str, Any]) -> set[object]:
    """Return the header fields that the credentials own, as far as they can be read."""
    found: set[object] = set()
    for _, auth in sections(service, ()):
        scheme = auth.get("scheme")
        if scheme in ("bearer", "basic", "challenge"):
            found.add("authorization")
        elif scheme == "cookie":
            found.add("cookie")
        elif scheme == "hmac":
            found |= {parsed(header_name, name) for name in child(auth, "headers") or ()}
        elif scheme == "header":
            parts = (part.get("name") for _, part in maps(child(auth, "headers"), ()))
            found |= {parsed(header_name, name) for name in (auth.get("name"), *parts)}
    return found


def compiled(section: AnyAuth) -> Auth:
    """Return the noun."""
    where = {
        "keep": section.keep,
        "hosts": tuple(section.hosts),
        "paths": tuple(section.paths),
        "strip": tuple(section.strip),
        "strip_query": tuple(section.strip_query),
        "presigned": section.presigned,
        "max_body": section.max_body,
    }
    if isinstance(section, SigningAuth):
        return Auth(
            section.scheme,
            secrets=tuple(section.secrets.items()),
            options=tuple(section.options.items()),
            **where,  # type: ignore[arg-type]
        )
    if isinstance(section, HmacAuth):
        told = {"key": section.key, "algorithm": section.algorithm, "encoding": section.encoding}
        return Auth(
            section.scheme,
            tuple(AuthPart(name, "", text) for name, text in section.headers.items()),
            secrets=tuple(section.secrets.items()),
            options=(*told.items(), ("message", section.message)),
            **where,  # type: ignore[arg-type]
        )
    return Auth(section.scheme, **_parts(section), **where)  # type: ignore[arg-type]


def _parts(
    section: BearerAuth | BasicAuth | HeaderAuth | QueryAuth | CookieAuth | BodyAuth | ChallengeAuth,
) -> dict[str, Any]:
    if isinstance(section, HeaderAuth):
        parts = tuple(AuthPart(part.name, part.secret, part.prefix) for part in section.headers or ())
        return {"parts": parts or (AuthPart(section.name, section.secret, section.prefix),)}
    if isinstance(section, QueryAuth):
        return {"parts": (AuthPart(section.name, section.secret),)}
    if isinstance(section, BodyAuth | CookieAuth):
        return {"parts": (AuthPart(section.name, section.secret, section.prefix),)}
    part = AuthPart("authorization", section.secret)
    if isinstance(section, BasicAuth):
        if section.word != "Basic":
            part = replace(part, prefix=f"{section.word} ")
        return {"parts": (part,), "user": section.user, "user_secret": section.user_secret}
    return {"parts": (part,)}


def _covers(service: HostPattern, auth: HostPattern) -> bool:
    """Whether what ``auth`` matches lies within the service, or overlaps it."""
    if auth.wildcard:
        return service.host == auth.host or f".{service.host}".endswith(f".{auth.host}") or service.wildcard
    return service.matches(auth.host, auth.port or 443, any_port=True) or service.host == auth.host


def _check_scheme(tree: Tree, trail: Trail, auth: dict[str, Any]) -> None:
    scheme = auth.get("scheme")
    if scheme == "basic":
        given = [key for key in ("user", "user_secret") if key in auth]
        if len(given) != 1:
            found = "both user and user_secret are given" if given else "the user is missing"
            tree.add(trail, describe(found, "exactly one of user and user_secret"), at_key=True)
    elif scheme == "header":
        _check_headers(tree, trail, auth)


def _check_secrets(tree: Tree, trail: Trail, auth: dict[str, Any]) -> None:
    """Report what a scheme says of the secrets, options and texts that it is given."""
    from proxyd.auth.registry import compile as compile_auth  # 30 ms, and few configurations write such a scheme

    told = {key: auth[key] for key in ("key", "algorithm", "encoding", "message") if isinstance(auth.get(key), str)}
    options, headers = auth.get("options"), auth.get("headers")
    parts = headers.items() if isinstance(headers, dict) else ()
    noun = Auth(
        str(auth.get("scheme")),
        tuple(AuthPart(str(name), "", str(text)) for name, text in parts),
        secrets=tuple((str(field), str(name)) for field, name in auth["secrets"].items()),
        options=tuple((options if isinstance(options, dict) else told).items()),
    )
    try:
        compile_auth(noun)
    except ValueError as error:
        tree.add(trail, str(error))
    except KeyError:
        pass  # a key is missing, which is said of the section


def _check_headers(tree: Tree, trail: Trail, auth: dict[str, Any]) -> None:
    if "headers" not in auth:
        for key in ("name", "secret"):
            if key not in auth:
                tree.add((*trail, key), describe("the key is missing", "name and secret, or a list under headers"))
        return
    for key in ("name", "secret", "prefix"):
        if key in auth:
            tree.add((*trail, key), "headers is given too; move this into its list", at_key=True)
    seen: set[str] = set()
    for part_trail, part in maps(auth["headers"], (*trail, "headers")):
        name = part.get("name")
        if isinstance(name, str):
            if name.lower() in seen:
                tree.add((*part_trail, "name"), "the header is named twice")
            seen.add(name.lower())
