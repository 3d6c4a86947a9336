"""The `fallback` of a service: its sections, the files that they name, and their contradictions."""

import mimetypes
from pathlib import Path
from typing import Annotated, Any, Final

from proxyd.core.fallback import DEFAULT_ON, MAX_BODY, FallbackStep, StaticResponse
from proxyd.core.units import KIB
from proxyd.reading import names
from proxyd.reading.problems import Mistake, Trail, describe
from proxyd.reading.readers import Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.tree import Tree
from proxyd.reading.views import child, entries, maps

Condition = Annotated[str, Text(names.fallback_condition, "condition", names.FALLBACK_PATTERN)]
_BODILESS: Final = (204, 304)
_TEXT: Final = "text/plain; charset=utf-8"


class StaticSection(Section):
    """A response that is written down; at most one of `body` and `body_file`."""

    status: Annotated[int, Whole(200, 599)] = StaticResponse().status
    """The status."""
    headers: dict[
        Annotated[str, Text(names.header_name, "header", names.FIELD_NAME_PATTERN)],
        Annotated[str, Text(names.plain_text, "text")],
    ] = {}
    """Header fields, such as `Content-Type`; the length is added."""
    body: Annotated[str, Text(names.body_text, "text")] = ""
    """The body."""
    body_file: Annotated[str, Text(names.path_text, "path")] = ""
    """File that holds the body, at most 64 KiB, read with the configuration; relative to it."""

    def compiled(self, folder: Path) -> StaticResponse:
        """Return the noun; the file was read before by ``check_fallback`` and is there."""
        body = read_body(folder / self.body_file) if self.body_file else self.body.encode("utf-8")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if body and "content-type" not in headers:
            kind = mimetypes.guess_type(self.body_file)[0] if self.body_file else None
            headers["content-type"] = kind or _TEXT
        return StaticResponse(self.status, tuple(headers.items()), body)


class FallbackSection(Section):
    """One thing to fall back on: exactly one of `service`, `response` and `stale`."""

    service: Annotated[str, Text(names.name, "name", names.NAME_PATTERN)] = ""
    """Another service, which is asked with its own base URL, credential, access rules, timeouts and policies."""
    response: StaticSection | None = None
    """A static response."""
    stale: bool = False
    """`true`: what the service's `cache` kept, as far as its rules let that stand in for a failure."""
    on: list[Condition] = list(DEFAULT_ON)
    """What it is for: `connect`, `reset`, `timeout`, `open` (refused here: breaker, threshold), or statuses."""

    def compiled(self, folder: Path) -> FallbackStep:
        """Return the noun."""
        response = self.response.compiled(folder) if self.response is not None else None
        return FallbackStep(self.service, response, self.stale, tuple(self.on))


def read_body(path: Path) -> bytes:
    """Return what a static response's file holds; Mistake where it cannot be read or is too long."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BODY + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise Mistake(f"the file cannot be read: {reason}", "a readable file with the body") from None
    if len(data) > MAX_BODY:
        raise Mistake(f"the file has more than {MAX_BODY // KIB} KiB", "a short body")
    return data


def check_fallbacks(tree: Tree, folder: Path) -> None:
    """Report every mistake in the steps of services to ``tree.problems``."""
    services = child(tree.value, "services")
    known = sorted(services) if isinstance(services, dict) else []
    for trail, name, service in entries(services, ("services",)):
        ended: set[str] = set()
        seen: set[str] = set()
        for step_trail, step in maps(service.get("fallback"), (*trail, "fallback")):
            given = [key for key in ("service", "response", "stale") if step.get(key) not in (None, False)]
            if len(given) != 1:
                found = f"{' and '.join(given)} are given" if given else "none is given"
                tree.add(step_trail, describe(found, "exactly one of service, response and stale"))
                continue
            conditions = _conditions(step)
            if conditions <= ended:
                tree.add(step_trail, "never reached: a response before it answers for all that this one is for")
            if given == ["stale"]:
                if "cache" not in service:
                    tree.add((*step_trail, "stale"), describe("nothing is kept", "cache beside fallback"), at_key=True)
            elif given == ["response"]:
                ended |= conditions
                _check_response(tree, (*step_trail, "response"), step["response"], folder)
            else:
                _check_alternate(tree, (*step_trail, "service"), name, step["service"], known, seen)
    _check_cycles(tree, services)


def _conditions(step: dict[str, Any]) -> set[str]:
    given = step.get("on")
    return {str(one) for one in given} if isinstance(given, list) else set(DEFAULT_ON)


def _check_alternate(tree: Tree, trail: Trail, name: str, other: object, known: list[str], seen: set[str]) -> None:
    if not isinstance(other, str):
        return
    if other == name:
        tree.add(trail, "a service cannot fall back on itself; `retry` makes further attempts")
    elif other not in known:
        tree.add(trail, describe("no service of this name stands under services", "", tree.nearest(other, known)))
    elif other in seen:
        tree.add(trail, "the service is named twice")
    seen.add(other)


def _check_response(tree: Tree, trail: Trail, response: object, folder: Path) -> None:
    if not isinstance(response, dict):
        return
    if "body" in response and "body_file" in response:
        tree.add((*trail, "body_file"), "body is given too; keep one of them", at_key=True)
    path = response.get("body_file")
    if isinstance(path, str) and path:
        try:
            read_body(folder / path)
        except Mistake as mistake:
            tree.add((*trail, "body_file"), str(mistake))
    if response.get("status") in _BODILESS and (response.get("body") or path):
        tree.add((*trail, "status"), f"a {response['status']} has no body (RFC 9110)")


def _check_cycles(tree: Tree, services: object) -> None:
    """Report services that fall back on each other, once per circle: an outage of one would be the other's load."""
    edges: dict[str, list[tuple[Trail, str]]] = {}
    for trail, name, service in entries(services, ("services",)):
        for step_trail, step in maps(service.get("fallback"), (*trail, "fallback")):
            other = step.get("service")
            if isinstance(other, str) and other != name:
                edges.setdefault(name, []).append(((*step_trail, "service"), other))
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        for trail, other in edges.get(name, ()):
            if other in path:
                circle = " → ".join([*path[path.index(other) :], other])
                tree.add(trail, f"services fall back on each other: {circle}; let the last one have a response")
            elif other not in done:
                walk(other, [*path, other])
        done.add(name)

    for name in edges:
        if name not in done:
            walk(name, [name])
