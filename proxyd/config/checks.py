"""Mistakes that one value alone does not show: references to nothing, things named twice, contradictions."""

from typing import Any, Final

from proxyd.config import service_checks
from proxyd.config.sinks import check_sinks
from proxyd.core.access import networks
from proxyd.core.limits import Http2Limits, Limits
from proxyd.core.service import UNIX
from proxyd.reading.addresses import DEFAULT_GATEWAY, ENCODED_SLASH, cidr, listen_address, listener_address
from proxyd.reading.problems import Trail, describe
from proxyd.reading.quantities import size, size_text
from proxyd.reading.tree import Tree
from proxyd.reading.views import child, entries, items, maps, parsed, table

CONDITIONS: Final = ("services", "hosts", "methods", "paths", "uid", "gid", "user", "cidr")
SOURCES: Final = ("env", "file", "command", "vault", "from")
KEY_SOURCES: Final = ("key_file", "env", "credential", "passphrase_env")
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path: sun_path without its NUL (unix(7))."""

_LINK_LOCAL: Final = networks(("169.254.0.0/16", "fe80::/10"))


def check(tree: Tree) -> None:
    """Report every mistake between values to ``tree.problems``."""
    if not isinstance(tree.value, dict):
        return
    _check_listeners(tree)
    _check_admin_socket(tree)
    _check_egress(tree)
    service_checks.check(tree)
    _check_secrets(tree)
    _check_vault(tree)
    _check_rules(tree)
    _check_limits(tree)
    check_sinks(tree)


def _check_listeners(tree: Tree) -> None:
    names: dict[str, Trail] = {}
    bound: list[tuple[str, str, int]] = []
    sockets: dict[str, Trail] = {}
    admin = parsed(listen_address, child(tree.value, "admin", "http"))
    if admin:
        bound.append(_taken("admin.http", admin))
    for trail, listener in maps(tree.value.get("listeners"), ("listeners",)):
        name = listener.get("name")
        if isinstance(name, str):
            if name in names:
                tree.add((*trail, "name"), f"another listener has this name, on line {tree.line(names[name])}")
            names.setdefault(name, (*trail, "name"))
        _check_mode(tree, trail, listener)
        address = parsed(listener_address, listener.get("address", DEFAULT_GATEWAY if _is_gateway(listener) else None))
        if address and address.startswith(UNIX):
            _check_socket(tree, trail, address, sockets)
            if "proxy_protocol" in listener:
                why = "proxy_protocol is for TCP: the peers of a Unix socket have no address that `from` could list"
                tree.add((*trail, "proxy_protocol"), why, at_key=True)
        elif address:
            taken = _taken(f"the listener on line {tree.line((*trail, 'address'))}", address)
            clash = next((other for other in bound if _clash(other, taken)), None)
            if clash:
                tree.add((*trail, "address"), f"the address is taken by {clash[0]}")
            bound.append(taken)
        _check_users(tree, trail, listener)


def _is_gateway(listener: dict[str, Any]) -> bool:
    return listener.get("mode") == "gateway"


def _check_mode(tree: Tree, trail: Trail, listener: dict[str, Any]) -> None:
    """Report keys that the other mode has."""
    if _is_gateway(listener):
        for key, why in (("users", "a gateway has no proxy authentication"), ("unknown_hosts", "it serves no others")):
            if key in listener:
                tree.add((*trail, key), f"{key} is for mode forward: {why}", at_key=True)
    elif listener.get("mode") == "forward":
        for key in ("origins", "open"):
            if key in listener:
                tree.add((*trail, key), f"{key} is for mode gateway", at_key=True)
        if "address" not in listener:
            tree.add((*trail, "address"), describe("the key is missing", "an address such as 127.0.0.1:3128"))


def _check_socket(tree: Tree, trail: Trail, address: str, sockets: dict[str, Trail]) -> None:
    """Report a Unix socket that two listen on, or whose path is too long."""
    path = address.removeprefix(UNIX)
    where = (*trail, "address")
    if path in sockets:
        tree.add(where, f"the socket is taken by the listener on line {tree.line(sockets[path])}")
    sockets.setdefault(path, trail)
    if path == child(tree.value, "admin", "socket") or path == "admin.sock":
        tree.add(where, "this is the admin socket")
    if len(path.encode()) > MAX_SOCKET_PATH:
        tree.add(where, f"the path of a Unix socket has at most {MAX_SOCKET_PATH} bytes")


def _taken(owner: str, address: str) -> tuple[str, str, int]:
    host, _, port = address.rpartition(":")
    return owner, "127.0.0.1" if host == "localhost" else host.strip("[]"), int(port)


def _clash(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    """Whether the kernel would refuse the second bind: same port and host, or one of them every address."""
    hosts = {one[1], other[1]}
    if one[2] != other[2] or one[2] == 0:
        return False
    same_family = len({":" in host for host in hosts}) == 1
    return len(hosts) == 1 or (same_family and bool(hosts & {"0.0.0.0", "::"}))  # noqa: S104


def _check_users(tree: Tree, trail: Trail, listener: dict[str, Any]) -> None:
    seen: set[str] = set()
    for user_trail, user in maps(listener.get("users"), (*trail, "users")):
        name = user.get("name")
        if isinstance(name, str) and name in seen:
            tree.add((*user_trail, "name"), "another user of this listener has this name")
        if isinstance(name, str):
            seen.add(name)


def _check_admin_socket(tree: Tree) -> None:
    path = child(tree.value, "admin", "socket")
    if isinstance(path, str) and path.startswith("/") and len(path.encode()) > MAX_SOCKET_PATH:
        tree.add(("admin", "socket"), f"the path of a Unix socket has at most {MAX_SOCKET_PATH} bytes")


def _check_egress(tree: Tree) -> None:
    ports = child(tree.value, "egress", "ports")
    if isinstance(ports, list) and "*" in ports and len(ports) > 1:
        tree.add(("egress", "ports"), "'*' is every port; write it alone, or list ports without it")
    for trail, text in items(child(tree.value, "egress", "allow"), ("egress", "allow")):
        network = parsed(cidr, text)
        if network and any(_within(network, fixed) for fixed in _LINK_LOCAL):
            tree.add(trail, "link-local addresses are never dialled: metadata services hand out credentials there")


def _within(inner: str, outer: Any) -> bool:
    (network,) = networks((inner,))
    return network.version == outer.version and network.subnet_of(outer)


def _check_secrets(tree: Tree) -> None:
    for trail, _, secret in entries(tree.value.get("secrets"), ("secrets",)):
        sources = [key for key in SOURCES if key in secret]
        if len(sources) != 1:
            found = "none is given" if not sources else f"{' and '.join(sources)} are given"
            tree.add(trail, describe(found, "exactly one of env, file, command, vault and from"), at_key=True)
        for key in ("timeout", "ttl"):
            if key in secret and sources and "command" not in sources:
                tree.add((*trail, key), f"{key} is for commands; a secret from {sources[0]} has none", at_key=True)


def _check_vault(tree: Tree) -> None:
    places = [key for key in KEY_SOURCES if key in table(tree.value, "vault")]
    if len(places) > 1:
        tree.add(("vault",), describe(f"{' and '.join(places)} are given", "one place for the key"), at_key=True)


def _check_rules(tree: Tree) -> None:
    users = {
        name
        for _, listener in maps(tree.value.get("listeners"), ())
        for _, user in maps(listener.get("users"), ())
        if isinstance(name := user.get("name"), str)
    }
    for trail, rule in maps(child(tree.value, "access", "rules"), ("access", "rules")):
        verdicts = [key for key in ("allow", "deny") if key in rule]
        if len(verdicts) != 1:
            found = "both are given" if verdicts else "neither is given"
            tree.add(trail, describe(found, "exactly one of allow and deny; one rule, one verdict"))
        for verdict in verdicts:
            if isinstance(rule[verdict], dict):
                _check_conditions(tree, (*trail, verdict), rule[verdict])
                _check_rule_references(tree, (*trail, verdict), rule[verdict], sorted(users))


def _check_conditions(tree: Tree, trail: Trail, conditions: dict[str, Any]) -> None:
    if not conditions:
        tree.add(trail, describe("the rule has no condition", f"at least one of {', '.join(CONDITIONS)}"))
    if "hosts" in conditions and "services" in conditions:
        tree.add(
            (*trail, "hosts"),
            "a rule judges services or hosts that are no service, never both; write two rules",
            at_key=True,
        )


def _check_rule_references(tree: Tree, trail: Trail, conditions: dict[str, Any], users: list[str]) -> None:
    services = table(tree.value, "services")
    named = list(items(conditions.get("services"), (*trail, "services")))
    for item_trail, name in named:
        if isinstance(name, str) and name != "*" and name not in services:
            tree.add(
                item_trail, describe("no service of this name stands under services", "", tree.nearest(name, services))
            )
    for key in ("user", "users"):
        for item_trail, name in items(conditions.get(key), (*trail, key)):
            if isinstance(name, str) and name not in users:
                tree.add(item_trail, describe("no listener has a user of this name", "", tree.nearest(name, users)))
    slashes = named and all(child(services, str(name), "encoded_slash") is True for _, name in named)
    for item_trail, path in items(conditions.get("paths"), (*trail, "paths")):
        if isinstance(path, str) and ENCODED_SLASH.search(path) and not slashes:
            tree.add(item_trail, "%2f in a path is for rules on services with encoded_slash: true")


def _check_limits(tree: Tree) -> None:
    limits = child(tree.value, "limits")
    _check_windows(tree, child(limits, "http2"))
    for low, high in (("uri_bytes", "head_bytes"), ("connections_per_caller", "connections")):
        small, large = (_effective(limits, key) for key in (low, high))
        if child(limits, low) is not None and small is not None and large is not None and small > large:
            tree.add(("limits", low), f"more than limits.{high}; the smaller of the two always wins")


def _check_windows(tree: Tree, http2: Any) -> None:
    default = Http2Limits()
    given = child(http2, "stream_window"), child(http2, "connection_window")
    stream = default.stream_window if given[0] is None else parsed(size, given[0])
    whole = default.connection_window if given[1] is None else parsed(size, given[1])
    if stream is not None and whole is not None and stream > whole:
        key = "connection_window" if given[0] is None else "stream_window"
        tree.add(
            ("limits", "http2", key),
            f"stream_window ({size_text(stream)}) is more than connection_window ({size_text(whole)}), "
            "which all streams share",
        )


def _effective(limits: Any, key: str) -> int | None:
    given = child(limits, key)
    return parsed(size, given) if given is not None else getattr(Limits(), key)
