"""The composition of the data plane: which concerns an exchange meets, and in which order.

Once per exchange: the chains below, ending in the router. Once per attempt: upstream/attempt.py.
"""

import hashlib
import time
from collections.abc import Callable, Sequence

import trio
from trio.lowlevel import spawn_system_task

from proxyd.auth.registry import compile as compile_auth
from proxyd.caching.memory import Memory
from proxyd.core import metrics
from proxyd.core.counts import REQUESTS, Row
from proxyd.core.exchange import Exchange
from proxyd.core.fault import Fault
from proxyd.core.headers import Headers
from proxyd.core.route import Chain, Choice, Filter, Judge, Route
from proxyd.core.service import Service
from proxyd.core.snapshot import ListenerMode, Snapshot
from proxyd.core.view import View
from proxyd.filters.access import AccessFilter, OpenJudge, OwnUidJudge, RuleJudge
from proxyd.filters.cache import CacheFilter
from proxyd.filters.concurrency import Admission, ConcurrencyFilter
from proxyd.filters.cors import CorsFilter
from proxyd.filters.credential import CredentialFilter
from proxyd.filters.fault import AttemptFaults, FaultFilter, Injection
from proxyd.filters.gradient import Gradient
from proxyd.filters.idempotency import IdempotencyFilter, KeyDesk
from proxyd.filters.limit import LimitFilter
from proxyd.filters.loop import LoopFilter
from proxyd.filters.reflection import ReflectionFilter
from proxyd.filters.rewrite import RewriteFilter
from proxyd.filters.shelf import Shelf
from proxyd.filters.version import VersionFilter
from proxyd.limiting.gate import Gates
from proxyd.net.reaper import Reaper
from proxyd.net.resolve import Resolver
from proxyd.upstream.attempt import Attempts
from proxyd.upstream.cluster import Cluster, ClusterSet
from proxyd.upstream.connector import Connector, Saw
from proxyd.upstream.fallback import Fallback, FallbackChain, Step
from proxyd.upstream.http2 import Spawn
from proxyd.upstream.pool import PoolSet
from proxyd.upstream.renewal import Ask, Renewal
from proxyd.upstream.router import Router
from proxyd.upstream.secrets import Secrets
from proxyd.upstream.shared import make_pool
from proxyd.worker.limits import Limits
from proxyd.worker.meter import Meter
from proxyd.worker.observe import Observer


class Assembly:
    """Builds views; what outlives a snapshot (pools, resolver, observer) is held here."""

    def __init__(
        self,
        reaper: Reaper,
        observer: Observer,
        meter: Meter,
        row: Row | None = None,
        spawn: Spawn = spawn_system_task,
        limits: Limits | None = None,
        refresh: Callable[[Exchange, Headers], None] | None = None,
        keys: KeyDesk | None = None,
        ask_token: Ask | None = None,
        saw_certificate: Saw | None = None,
    ) -> None:
        """``spawn`` starts tasks of the upstream side; ``ask_token`` asks control, ``saw_certificate`` tells it."""
        self._saw = saw_certificate
        self.pools = PoolSet(make_pool)
        self.clusters = ClusterSet(overflowed=self._overflowed, row=row)
        self.secrets = Secrets()
        self.renewal = Renewal(self.secrets, ask_token or (lambda _: None), self._renewed)
        self._limits = limits or Limits(lambda _: None, lambda *_: None)
        self.shelf = Shelf(Memory(0))
        self._refresh = refresh
        self._keys = keys
        self._resolver = Resolver()
        self._reaper = reaper
        self._observer = observer
        self._meter = meter
        self._spawn = spawn
        self._clusters: dict[str, Cluster] = {}
        self._injections: dict[str, Injection] = {}
        self._admissions: dict[str, Admission] = {}
        self._view: View | None = None
        self._connector: tuple[str, Connector] | None = None

    def view(self, snapshot: Snapshot) -> View:
        """Compile a snapshot. ValueError when it cannot be used."""
        policy = _fingerprint(snapshot)
        self.secrets.forget_masks()
        self._limits.apply(snapshot)
        self._furnish(snapshot)
        if self._connector is None or self._connector[0] != policy:
            connector = Connector(snapshot.egress, snapshot.extra_roots_pem, self._resolver, self._reaper, self._saw)
            self._connector = (policy, connector)
            self.pools.retire_others(policy)
        attempts = Attempts(
            self._connector[1],
            self.pools,
            self.secrets,
            snapshot.limits,
            policy,
            snapshot.pseudonym,
            spawn=self._spawn,
        )
        router = Router(attempts, self.renewal)
        alone = snapshot.workers == 1
        self._clusters = self.clusters.apply(snapshot.services, trio.current_time(), is_alone=alone)
        self.pools.retire_left(self.clusters.endpoints())
        self._admissions = {
            service.name: self._admission(service)
            for service in snapshot.services
            if service.resilience.adaptive_concurrency is not None
        }
        services = [(service, self._route(snapshot, service)) for service in snapshot.services]
        self._view = View(snapshot, services, self._route(snapshot, None), router)
        self._set_fallbacks(self._view)
        return self._view

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Inject these faults and no others; those that were there go on with their draws and counts."""
        former = self._injections
        self._injections = {fault.id: former.get(fault.id) or self._injection(fault) for fault in faults}
        changed = former.keys() ^ self._injections.keys()
        self._recompile({(former.get(name) or self._injections[name]).fault.service for name in changed})

    def end_faults(self, now: float) -> None:
        """Take faults that have expired out of the chains."""
        over = [name for name, injection in self._injections.items() if injection.deadline <= now]
        self._recompile({self._injections.pop(name).fault.service for name in over})

    def faults(self) -> dict[str, int]:
        """Return how often each fault was injected here."""
        return {name: injection.hits for name, injection in self._injections.items()}

    def endpoints(self) -> list[dict[str, object]]:
        """Describe every endpoint, and where some service adapts, how many requests its service may have under way."""
        rows = self.clusters.view(trio.current_time())
        for row in rows if self._admissions else ():
            admission = self._admissions.get(str(row["service"]))
            gradient = admission.gradient if admission is not None else None
            row["concurrency_limit"] = None if gradient is None else int(gradient.bound)
            row["min_rtt_ms"] = None if gradient is None else round(gradient.min_rtt * 1000, 3)
        return rows

    def _admission(self, service: Service) -> Admission:
        """Return who is under way at a service; what was learned is kept while the policy stays."""
        policy = service.resilience.adaptive_concurrency
        assert policy is not None, "asked for services that have the policy alone"
        name, load = service.name, self._clusters[service.name].load
        former = self._admissions.get(name)
        if former is not None and former.gradient.policy == policy:
            return former
        now = trio.current_time()
        skew = time.monotonic() - now  # trio's clock begins elsewhere in every worker
        gradient = Gradient(policy, name, now, skew)
        return Admission(gradient, lambda: load.total(REQUESTS), lambda: self._overflowed(name, "adaptive_concurrency"))

    def _injection(self, fault: Fault) -> Injection:
        deadline = trio.current_time() + fault.expires - time.time()
        return Injection(fault, deadline, self._meter.counter(metrics.FAULTS, fault.service, fault.kind.value).add)

    def _recompile(self, services: set[str]) -> None:
        """Compile the chains of these services anew; exchanges that run finish with the former ones."""
        if self._view is None:
            return
        for name in services & self._view.named.keys():
            self._compile(self._view.snapshot, self._view.named[name])

    @property
    def connector(self) -> Connector:
        """The connector of the current policy."""
        assert self._connector is not None, "a snapshot was applied"
        return self._connector[1]

    def _renewed(self, service: str) -> None:
        self._meter.counter(metrics.RENEWALS, service).value += 1

    def _overflowed(self, service: str, threshold: str) -> None:
        self._meter.counter(metrics.OVERFLOWS, service, threshold).value += 1

    def _route(self, snapshot: Snapshot, service: Service | None) -> Route:
        timeouts = service.timeouts if service is not None else snapshot.unknown_timeouts
        pool = service.pool if service is not None else snapshot.unknown_pool
        route = Route(service, timeouts, pool, _judge(snapshot, service))
        if service is not None:
            route.cluster = self._clusters[service.name]
            route.gates = self._limits.per_attempt(service) or None
            route.vendor = self._limits.vendor(service)
        if service is not None:
            route.choices = tuple(Choice(compile_auth(auth), auth) for auth in service.auths)
        self._compile(snapshot, route)
        return route

    def _compile(self, snapshot: Snapshot, route: Route) -> None:
        """Give a route its filters, those of faults only where one concerns it."""
        concerned = [one for one in self._injections.values() if one.fault.service == route.name]
        encoded_slash = route.service is not None and route.service.encoded_slash
        route.attempt_fault = AttemptFaults(concerned, encoded_slash) or None
        chain = FallbackChain if route.service is not None and route.service.fallback else Chain
        route.chain = chain(self._filters(snapshot, route, concerned))
        if any(step.service == route.name for service in snapshot.services for step in service.fallback):
            route.alternate = Chain(self._alternate_filters(snapshot, route, concerned))

    def _filters(self, snapshot: Snapshot, route: Route, concerned: Sequence[Injection]) -> list[Filter]:
        filters: list[Filter] = [self._observer, LoopFilter(snapshot.pseudonym)]
        filters += _translation(snapshot, route.service)
        if route.checks_paths or not route.judge.always:
            filters.append(AccessFilter())
        return filters + self._own_filters(snapshot, route, concerned)

    def _own_filters(self, snapshot: Snapshot, route: Route, concerned: Sequence[Injection]) -> list[Filter]:
        """Return those that are the service's own business, whichever way a request came to it."""
        filters: list[Filter] = []
        if concerned:
            filters.append(FaultFilter(concerned, route.service is not None and route.service.encoded_slash))
        before = self._limits.before_cache(route.service) if route.service is not None else Gates([])
        if before:
            filters.append(LimitFilter(before))
        if route.service is not None and route.service.version is not None:
            filters.append(VersionFilter(route.service.version))
        if route.choices:
            filters.append(CredentialFilter(route.choices, self.renewal))
        if route.service is not None and route.service.idempotency is not None and self._keys is not None:
            filters.append(IdempotencyFilter(self._keys, route.service))
        policy = route.service.cache if route.service is not None else None
        if policy is not None:
            filters.append(CacheFilter(self.shelf, policy, snapshot.pseudonym, self._refresh))
        after = self._limits.after_cache(route.service) if route.service is not None else Gates([])
        if after:
            filters.append(LimitFilter(after))
        admission = self._admissions.get(route.name)
        if admission is not None:
            filters.append(ConcurrencyFilter(route.name, admission))
        if route.choices:  # what is kept is masked already
            masked = self._meter.counter(metrics.MASKED, route.name)
            filters.append(ReflectionFilter(snapshot.limits.mask_bytes, masked.add, snapshot.limits.buffered_bytes))
        return filters

    def _furnish(self, snapshot: Snapshot) -> None:
        """Give the cache its room, and forget what services kept that have no cache any more."""
        self.shelf.memory.resize(snapshot.limits.cache_bytes)
        caching = {service.name for service in snapshot.services if service.cache is not None}
        for name in self.shelf.memory.summary().keys() - caching:
            self.shelf.memory.purge(name)

    def _alternate_filters(self, snapshot: Snapshot, route: Route, concerned: Sequence[Injection]) -> list[Filter]:
        """Return what an exchange in another service's place meets: paths are always judged, and URLs translated."""
        gateways = [listener for listener in snapshot.listeners if listener.mode is ListenerMode.GATEWAY]
        filters: list[Filter] = [CorsFilter()] if any(listener.origins for listener in gateways) else []
        filters += [RewriteFilter(), AccessFilter()]
        return filters + self._own_filters(snapshot, route, concerned)

    def _set_fallbacks(self, view: View) -> None:
        """Let routes know what they fall back on, once all of them are there."""
        for route in view.named.values():
            service = route.service
            if service is None or not service.fallback:
                continue
            steps = [
                Step(
                    step,
                    view.named[step.service] if step.service else None,
                    self._meter.counter(metrics.FALLBACKS, service.name, step.name).add,
                )
                for step in service.fallback
            ]
            route.fallback = Fallback(steps, is_keyed=bool(service.resilience.retry.key_header))


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
