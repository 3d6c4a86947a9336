"""Contradictions within and between services."""

import math
from typing import Any, Final

from proxyd.config.auths import check_auths, credential_fields
from proxyd.config.credentials import is_use
from proxyd.config.discovery import check_discover
from proxyd.config.limiting import check_limits
from proxyd.config.vendor_limits import check_vendor_limits
from proxyd.config.version import check_version
from proxyd.core.resilience import GRPC_CONDITIONS, AdaptiveConcurrency
from proxyd.core.service import UNIX, HostPattern, Timeouts
from proxyd.reading.addresses import base_url, endpoint, host_pattern
from proxyd.reading.names import header_name
from proxyd.reading.problems import Trail, describe
from proxyd.reading.quantities import duration, duration_text
from proxyd.reading.tree import Tree
from proxyd.reading.views import child, entries, items, parsed

_ADAPTIVE: Final = AdaptiveConcurrency()
WEB_PORTS: Final = (80, 443)
"""What a host pattern without a port covers."""

NEVER: Final = math.inf

Claims = dict[tuple[str, bool, int], Trail]


def check(tree: Tree) -> None:
    """Report every mistake between the values of services to ``tree.problems``."""
    claims: Claims = {}
    for trail, _, service in entries(tree.value.get("services"), ("services",)):
        _check_presence(tree, trail, service)
        patterns = _check_hosts(tree, trail, service, claims)
        _check_base_url(tree, trail, service, patterns)
        _check_endpoints(tree, trail, service)
        check_discover(tree, trail, service)
        check_auths(tree, trail, service, patterns)
        check_version(tree, trail, service)
        _check_timeouts(tree, (*trail, "timeouts"), service.get("timeouts"))
        _check_propagate(tree, trail, service)
        _check_resilience(tree, trail, service)
        _check_protocol(tree, trail, service)
        check_limits(tree, trail, service)
        check_vendor_limits(tree, trail, service)
        _check_idempotency(tree, trail, service)
    _check_timeouts(tree, ("unknown", "timeouts"), child(tree.value, "unknown", "timeouts"))
    _check_propagate(tree, ("unknown",), child(tree.value, "unknown"))


def _check_hosts(tree: Tree, trail: Trail, service: dict[str, Any], claims: Claims) -> list[HostPattern]:
    patterns: list[HostPattern] = []
    for item_trail, text in items(service.get("hosts"), (*trail, "hosts")):
        pattern = parsed(host_pattern, text)
        if pattern is None:
            continue
        keys = [(pattern.host, pattern.wildcard, port) for port in ((pattern.port,) if pattern.port else WEB_PORTS)]
        taken = next((claims[key] for key in keys if key in claims and claims[key][:2] != trail), None)
        if taken is not None:
            tree.add(item_trail, f"the host is claimed by the service {taken[1]} already, on line {tree.line(taken)}")
        elif pattern in patterns:
            tree.add(item_trail, "the host is named twice")
        patterns.append(pattern)
        for key in keys:
            claims.setdefault(key, item_trail)
    return patterns


def _check_presence(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    """Report a service without hosts; one that uses the catalogue is reported with what that says of its hosts."""
    if "hosts" not in service and not is_use(service):
        tree.add(
            (*trail, "hosts"),
            "the key is missing: such as `hosts: [api.example.com]`, or use: with a name of the catalogue",
        )


def _check_base_url(tree: Tree, trail: Trail, service: dict[str, Any], patterns: list[HostPattern]) -> None:
    if "base_url" not in service:
        hosts = service.get("hosts")
        first = parsed(host_pattern, hosts[0]) if isinstance(hosts, list) and hosts else None
        if first is not None and first.wildcard:
            tree.add((*trail, "base_url"), "the key is missing: with a wildcard as the first host it cannot be derived")
        return
    base = parsed(base_url, service["base_url"])
    if base is None:
        return
    if patterns and not any(pattern.matches(base.host, base.port, any_port=True) for pattern in patterns):
        tree.add(
            (*trail, "base_url"),
            "the host is not among this service's hosts, or there with another port; "
            "a credential goes only to its service's hosts",
        )
    is_open = service.get("insecure") is True or _stays_here(service)
    if base.scheme == "http" and "auth" in service and not is_open:
        problem = "the credential would go over plain http, readable on the way"
        tree.add((*trail, "base_url"), describe(problem, "https, or insecure: true beside it"))


def _stays_here(service: dict[str, Any]) -> bool:
    """Whether all endpoints are Unix sockets: plain http to them leaves the machine nowhere."""
    given = service.get("endpoints")
    texts = [one.get("address") if isinstance(one, dict) else one for one in given] if isinstance(given, list) else []
    return bool(texts) and all(isinstance(text, str) and text.startswith(UNIX) for text in texts)


def _check_endpoints(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    seen = set()
    for item_trail, item in items(service.get("endpoints"), (*trail, "endpoints")):
        address = parsed(endpoint, item.get("address") if isinstance(item, dict) else item)
        if address is not None and address in seen:
            tree.add(item_trail, "the endpoint is named twice")
        seen.add(address)


_WITHIN: Final = {
    "per_try": ("connect", "first_byte", "tls", "head"),
    "total": ("connect", "first_byte", "per_try", "tls", "head", "stream"),
}
"""What lies within what."""


def _check_timeouts(tree: Tree, trail: Trail, timeouts: Any) -> None:
    """Compare what is written: a default longer than ``total`` is simply never reached."""
    said: set[str] = set()
    for whole, parts in _WITHIN.items():
        longest = parsed(duration, child(timeouts, whole)) or NEVER
        for key in parts:
            phase = parsed(duration, child(timeouts, key))
            if phase is not None and phase > longest and key not in said:
                said.add(key)
                tree.add((*trail, key), f"longer than {whole}, which would always end first")
    _check_tls(tree, trail, timeouts, said)


def _check_tls(tree: Tree, trail: Trail, timeouts: Any, said: set[str]) -> None:
    """The default of ``connect`` counts: who writes ``tls: 10s`` means it."""
    tls = parsed(duration, child(timeouts, "tls"))
    written = child(timeouts, "connect")
    connect = Timeouts().connect if written is None else parsed(duration, written)
    if tls and connect and tls > connect and "tls" not in said:
        by_default = f" ({duration_text(connect)} by default)" if written is None else ""
        tree.add((*trail, "tls"), f"longer than connect{by_default}, which includes it and would always end first")


def _check_propagate(tree: Tree, trail: Trail, section: Any) -> None:
    timeouts = child(section, "timeouts")
    name = parsed(header_name, child(timeouts, "propagate"))
    if name is None or not isinstance(section, dict):
        return
    where = (*trail, "timeouts", "propagate")
    if parsed(duration, child(timeouts, "first_byte")) == 0 and not any(
        parsed(duration, child(timeouts, key)) for key in ("per_try", "total")
    ):
        tree.add(where, describe("an attempt has no end to tell of", "per_try, total or first_byte above 0s"))
    if name in credential_fields(section):
        tree.add(where, "this header carries the credential")
    if name == parsed(header_name, child(section, "retry", "idempotency_key")):
        tree.add(where, "this header carries the idempotency key")


def _check_idempotency(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    section = service.get("idempotency")
    if not isinstance(section, dict):
        return
    name = parsed(header_name, section.get("header", "Idempotency-Key"))
    where = (*trail, "idempotency", *(("header",) if "header" in section else ()))
    if name in credential_fields(service):
        tree.add(where, "this header carries the credential")
    elif name == parsed(header_name, child(service, "retry", "idempotency_key")):
        problem = "retry.idempotency_key says that the vendor honours this header, and it would never see a repeat"
        tree.add(where, describe(problem, "one of the two"), at_key="header" not in section)


def _check_protocol(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    if service.get("protocol") != "h2":
        return
    if child(service, "health", "path") is not None:
        problem = "checks with a path ask by HTTP/1.1, which an upstream of h2 alone may not answer"
        tree.add((*trail, "health", "path"), describe(problem, "no path: a connection, or protocol: auto"))


def _check_resilience(tree: Tree, trail: Trail, service: dict[str, Any]) -> None:
    attempts, budget = child(service, "retry", "attempts"), child(service, "retry", "budget")
    nothing = isinstance(budget, dict) and budget.get("min_per_second") == 0 and budget.get("ratio") in ("0%", "0 %")
    if nothing and attempts != 1:
        problem = "the budget allows no retry at all, and attempts asks for some"
        tree.add((*trail, "retry", "budget"), describe(problem, "attempts: 1, or a ratio or min_per_second above zero"))
    named = [name for _, name in items(child(service, "retry", "on"), ()) if name in GRPC_CONDITIONS.values()]
    if named and not child(service, "retry", "grpc_idempotent"):
        problem = f"{named[0]} has no effect: calls of gRPC are POST, and none is said to be safe to repeat"
        tree.add((*trail, "retry", "on"), describe(problem, "grpc_idempotent beside it"))
    if "health" in service and not service.get("endpoints") and "discover" not in service:
        problem = "health checks ask endpoints, and this service has none"
        tree.add((*trail, "health"), describe(problem, "a list of endpoints, or discover, beside it"), at_key=True)
    adaptive = service.get("adaptive_concurrency")
    least = child(adaptive, "min_limit") or _ADAPTIVE.min_limit
    most = child(adaptive, "max_limit") or _ADAPTIVE.max_limit
    if isinstance(least, int) and isinstance(most, int) and least > most:
        key = "max_limit" if child(adaptive, "max_limit") else "min_limit"
        trail_of = (*trail, "adaptive_concurrency", key)
        tree.add(trail_of, describe(f"min_limit {least} is above max_limit {most}", "the larger number as max_limit"))
    by, name = child(service, "hash", "by"), child(service, "hash", "name")
    if by in ("header", "cookie") and not name:
        tree.add((*trail, "hash", "name"), describe("the key is missing", f"the name of the {by}"))
    if "hash" in service and service.get("balance") != "hash":
        tree.add((*trail, "hash"), describe("it has no effect", "balance: hash beside it"), at_key=True)
