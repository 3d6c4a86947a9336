"""Access: may this caller make this request? The first rule that matches decides."""

import ipaddress
from typing import Final

from proxyd.core.access import Access, Network, Rule, networks
from proxyd.core.errors import bad_request, denied
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import Response
from proxyd.core.paths import METHOD_OVERRIDES, check_path, covers
from proxyd.core.route import Filter
from proxyd.core.service import Service

ALL: Final = "*"


class Conditions:
    """One rule with its conditions parsed; faults are scoped by them as well."""

    __slots__ = ("encoded_slash", "methods", "networks", "rule")

    def __init__(self, rule: Rule, encoded_slash: bool) -> None:
        self.rule = rule
        self.encoded_slash = encoded_slash
        self.methods = frozenset(method.encode("ascii") for method in rule.methods)
        self.networks: tuple[Network, ...] = networks(rule.cidrs)

    @property
    def judges_callers(self) -> bool:
        """Whether the answer depends on more than method and path."""
        rule = self.rule
        return bool(rule.hosts or rule.uids or rule.gids or rule.users or rule.cidrs)

    def fits_peer(self, peer: Peer, host: str, port: int) -> bool:
        """Whether caller and host meet the conditions."""
        rule = self.rule
        if rule.hosts and not any(pattern.matches(host, port, any_port=True) for pattern in rule.hosts):
            return False
        if rule.uids and peer.uid not in rule.uids:
            return False
        if rule.gids and peer.gid not in rule.gids:
            return False
        if rule.users and peer.user not in rule.users:
            return False
        return not self.networks or _within(peer.address, self.networks)

    def fits_request(self, method: bytes, path: bytes) -> bool:
        """Whether method and path (a query is not looked at) meet the conditions."""
        if self.methods and method not in self.methods:
            return False
        return not self.rule.paths or any(covers(prefix, path, self.encoded_slash) for prefix in self.rule.paths)


class RuleJudge:
    """The rules of ``access:`` that can concern one route."""

    def __init__(self, access: Access, service: Service | None) -> None:
        encoded_slash = service is not None and service.encoded_slash
        self._rules = [Conditions(rule, encoded_slash) for rule in access.rules if _concerns(rule, service)]
        self._default = access.allow_by_default
        self.judges_paths = any(rule.rule.paths for rule in self._rules)
        self.judges_methods = any(rule.methods for rule in self._rules)
        first = self._rules[0].rule if self._rules else None
        self.ignores_callers = not any(rule.judges_callers for rule in self._rules)
        self.always = first is not None and first.allow and first.is_unconditional

    def decide(self, peer: Peer, host: str, port: int, method: bytes, path: bytes) -> bool:
        """Whether this request is allowed; ``path`` may carry a query."""
        for rule in self._rules:
            if rule.fits_request(method, path) and rule.fits_peer(peer, host, port):
                return rule.rule.allow
        return self._default

    def may(self, peer: Peer, host: str, port: int) -> bool:
        """Whether some request could be allowed."""
        for rule in self._rules:
            if rule.fits_peer(peer, host, port):
                if rule.rule.allow:
                    return True
                if not rule.rule.judges_paths:
                    return False
        return self._default

    def tunnel(self, peer: Peer, host: str, port: int) -> bool:
        """Whether an opaque tunnel is allowed: an allow that looks into requests does not fit, such a deny does."""
        for rule in self._rules:
            if rule.fits_peer(peer, host, port) and not (rule.rule.allow and rule.rule.judges_paths):
                return rule.rule.allow
        return self._default


class OwnUidJudge:
    """No ``access:`` section: a service is for callers of the daemon's own uid."""

    judges_paths = False
    judges_methods = False
    ignores_callers = False
    always = False

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def decide(self, peer: Peer, host: str, port: int, method: bytes, path: bytes) -> bool:
        """Whether the caller has the daemon's uid."""
        return peer.uid == self._uid

    def may(self, peer: Peer, host: str, port: int) -> bool:
        """As decide."""
        return peer.uid == self._uid

    tunnel = may


class OpenJudge:
    """No ``access:`` section: unknown hosts follow the listener alone."""

    judges_paths = False
    judges_methods = False
    ignores_callers = True
    always = True

    def decide(self, peer: Peer, host: str, port: int, method: bytes, path: bytes) -> bool:
        """Yes."""
        return True

    def may(self, peer: Peer, host: str, port: int) -> bool:
        """Yes."""
        return True

    tunnel = may


MAX_REMEMBERED: Final = 4096
"""Requests that one route's filter knows to be allowed."""


class AccessFilter(Filter):
    """Refuses what the rules forbid, and paths that rules could misread. One for each route.

    What was allowed once for any caller is remembered by method and path.
    """

    def __init__(self) -> None:
        self._allowed: set[tuple[bytes, bytes]] = set()

    def request(self, exchange: Exchange) -> Response | None:
        """ProxyError 400 for an ambiguous path, 403 for a forbidden request."""
        request = exchange.request
        judge = exchange.route.judge
        key = (request.method, request.path)
        if key not in self._allowed:
            self._check(exchange)
            if judge.ignores_callers:
                if len(self._allowed) >= MAX_REMEMBERED:
                    self._allowed.clear()
                self._allowed.add(key)
        if judge.judges_methods:
            request.headers = [item for item in request.headers if item[0] not in METHOD_OVERRIDES]
        return None

    def _check(self, exchange: Exchange) -> None:
        request = exchange.request
        route = exchange.route
        if route.checks_paths:
            service = route.service
            reason = check_path(request.path, service is not None and service.encoded_slash)
            if reason is not None:
                raise bad_request(f"the path is ambiguous: {reason}")
        authority = request.authority
        if not route.judge.decide(exchange.peer, authority.host, authority.port, request.method, request.path):
            raise denied(refusal(exchange.peer, route.name or str(authority)))


def refusal(peer: Peer, target: str) -> str:
    """Say who was refused what, and where to look."""
    who = f"uid {peer.uid}" if peer.uid is not None else peer.address
    return f"no access rule lets {who} do this with {target}; see `access:` in the configuration"


def _concerns(rule: Rule, service: Service | None) -> bool:
    if service is None:
        return not rule.services
    if rule.services:
        return ALL in rule.services or service.name in rule.services
    return not rule.hosts


def _within(address: str, ranges: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is not None:
        parsed = mapped
    return any(parsed.version == network.version and parsed in network for network in ranges)
