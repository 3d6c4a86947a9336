"""The composition of the data plane: which concerns an exchange meets, and in which order.

Once per exchange: the chains below, ending in the router. Once per attempt: upstream/router.py.
"""

import hashlib

import trio

from proxyd.auth.registry import compile as compile_auth
from proxyd.core import metrics
from proxyd.core.counts import Row
from proxyd.core.route import Chain, Filter, Judge, Route
from proxyd.core.service import Service
from proxyd.core.snapshot import ListenerMode, Snapshot
from proxyd.core.view import View
from proxyd.filters.access import AccessFilter, OpenJudge, OwnUidJudge, RuleJudge
from proxyd.filters.cors import CorsFilter
from proxyd.filters.credential import CredentialFilter
from proxyd.filters.loop import LoopFilter
from proxyd.filters.reflection import ReflectionFilter
from proxyd.filters.rewrite import RewriteFilter
from proxyd.net.reaper import Reaper
from proxyd.net.resolve import Resolver
from proxyd.upstream.cluster import Cluster, ClusterSet
from proxyd.upstream.connector import Connector
from proxyd.upstream.pool import PoolSet
from proxyd.upstream.router import Router, Secrets
from proxyd.worker.meter import Meter
from proxyd.worker.observe import Observer


class Assembly:
    """Builds views; what outlives a snapshot (pools, resolver, observer) is held here."""

    def __init__(self, reaper: Reaper, observer: Observer, meter: Meter, row: Row | None = None) -> None:
        self.pools = PoolSet()
        self.clusters = ClusterSet(overflowed=self._overflowed, row=row)
        self.secrets = Secrets()
        self._resolver = Resolver()
        self._reaper = reaper
        self._observer = observer
        self._meter = meter
        self._clusters: dict[str, Cluster] = {}
        self._connector: tuple[str, Connector] | None = None

    def view(self, snapshot: Snapshot) -> View:
        """Compile a snapshot. ValueError when it cannot be used."""
        policy = _fingerprint(snapshot)
        self.secrets.forget_masks()
        if self._connector is None or self._connector[0] != policy:
            connector = Connector(snapshot.egress, snapshot.extra_roots_pem, self._resolver, self._reaper)
            self._connector = (policy, connector)
            self.pools.retire_others(policy)
        router = Router(self._connector[1], self.pools, self.secrets, snapshot.limits, policy, snapshot.pseudonym)
        alone = snapshot.workers == 1
        self._clusters = self.clusters.apply(snapshot.services, trio.current_time(), is_alone=alone)
        services = [(service, self._route(snapshot, service)) for service in snapshot.services]
        return View(snapshot, services, self._route(snapshot, None), router)

    @property
    def connector(self) -> Connector:
        """The connector of the current policy."""
        assert self._connector is not None, "a snapshot was applied"
        return self._connector[1]

    def _overflowed(self, service: str, threshold: str) -> None:
        self._meter.counter(metrics.OVERFLOWS, service, threshold).value += 1

    def _route(self, snapshot: Snapshot, service: Service | None) -> Route:
        timeouts = service.timeouts if service is not None else snapshot.unknown_timeouts
        pool = service.pool if service is not None else snapshot.unknown_pool
        route = Route(service, timeouts, pool, _judge(snapshot, service))
        if service is not None:
            route.cluster = self._clusters[service.name]
        if service is not None and service.auth is not None:
            route.injector = compile_auth(service.auth)
        route.chain = Chain(self._filters(snapshot, route))
        return route

    def _filters(self, snapshot: Snapshot, route: Route) -> list[Filter]:
        filters: list[Filter] = [self._observer, LoopFilter(snapshot.pseudonym)]
        filters += _translation(snapshot, route.service)
        if route.checks_paths or not route.judge.always:
            filters.append(AccessFilter())
        if route.injector is not None:
            masked = self._meter.counter(metrics.MASKED, route.name)
            filters += [ReflectionFilter(snapshot.limits.mask_bytes, masked.add), CredentialFilter()]
        return filters


def _translation(snapshot: Snapshot, service: Service | None) -> list[Filter]:
    """What is needed where clients know the service under another URL: a gateway's, or http in place of https."""
    if service is None:
        return []
    gateways = [listener for listener in snapshot.listeners if listener.mode is ListenerMode.GATEWAY]
    upgrades = service.base.scheme == "https" and len(gateways) < len(snapshot.listeners)
    filters: list[Filter] = []
    if any(listener.origins for listener in gateways):
        filters.append(CorsFilter())
    if gateways or upgrades:
        filters.append(RewriteFilter())
    return filters


def _judge(snapshot: Snapshot, service: Service | None) -> Judge:
    if snapshot.access is not None:
        return RuleJudge(snapshot.access, service)
    return OpenJudge() if service is None else OwnUidJudge(snapshot.daemon_uid)


def _fingerprint(snapshot: Snapshot) -> str:
    """Name the policy that connections are made under: a change of egress rules or trust roots starts new pools."""
    digest = hashlib.sha256(repr(snapshot.egress).encode("utf-8"))
    digest.update(snapshot.extra_roots_pem)
    return digest.hexdigest()[:16]
