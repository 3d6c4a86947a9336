import dataclasses
import time

import pytest
import trio

from proxyd.core.access import Access, Rule
from proxyd.core.exchange import Peer
from proxyd.core.fault import Fault, FaultAnswer, FaultKind, FaultPlace
from proxyd.core.limits import PoolLimits
from proxyd.core.service import Auth, AuthPart, BaseUrl, HostPattern, Service
from proxyd.core.snapshot import Egress, Listener, ListenerMode, Snapshot
from proxyd.filters.access import AccessFilter
from proxyd.filters.cors import CorsFilter
from proxyd.filters.credential import CredentialFilter
from proxyd.filters.fault import FaultFilter
from proxyd.filters.loop import LoopFilter
from proxyd.filters.reflection import ReflectionFilter
from proxyd.filters.rewrite import RewriteFilter
from proxyd.net.reaper import Reaper
from proxyd.upstream.pool import PoolKey
from proxyd.worker.assemble import Assembly
from proxyd.worker.endings import Endings
from proxyd.worker.meter import Meter
from proxyd.worker.observe import Events, Observer

HOST = "api.example"
AUTH = Auth("bearer", (AuthPart("", "api/token"),))
FORWARD = Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0")
GATEWAY = Listener("gateway", ListenerMode.GATEWAY, "unix:/g")
OWN = Peer("apps", "127.0.0.1", uid=1000)
OTHER = Peer("apps", "127.0.0.1", uid=1001)


def service(**changes):
    return Service("api", (HostPattern(HOST),), BaseUrl("https", HOST, 443), **changes)


def snapshot(*services, **changes):
    return Snapshot(1, "proxyd-1", 1000, services=services, **changes)


@pytest.fixture
async def assembly():
    meter = Meter()
    return Assembly(Reaper(), Observer(meter, Events(meter), Endings(lambda _: True)), meter)


def request_filters(route):
    return [type(hook.__self__) for hook, _ in route.chain.steps]


def response_filters(route):
    return [type(hook.__self__) for hook in route.chain.response_hooks]


async def test_an_exchange_meets_its_filters_in_this_order(assembly):
    route = assembly.view(snapshot(service(auths=(AUTH,)))).find(HOST, 443)
    assert request_filters(route) == [LoopFilter, AccessFilter, CredentialFilter]
    assert response_filters(route) == [ReflectionFilter]
    assert [type(hook.__self__) for hook in route.chain.done_hooks] == [Observer]


async def test_what_is_off_costs_nothing(assembly):
    view = assembly.view(snapshot(service(), access=Access((Rule(True, ("api",)),))))
    assert request_filters(view.find(HOST, 443)) == [LoopFilter]
    assert response_filters(view.find(HOST, 443)) == []


@pytest.mark.parametrize(
    ("listeners", "expected"),
    [
        ((FORWARD,), [RewriteFilter]),
        ((GATEWAY,), [RewriteFilter]),
        ((FORWARD, dataclasses.replace(GATEWAY, origins=("https://a",))), [CorsFilter, RewriteFilter]),
    ],
)
async def test_a_service_that_clients_know_under_another_url_has_it_translated(assembly, listeners, expected):
    view = assembly.view(snapshot(service(), access=Access((Rule(True, ("api",)),)), listeners=listeners))
    assert response_filters(view.named["api"]) == expected
    assert response_filters(view.unknown) == []


async def test_a_service_by_http_needs_no_translation_on_a_forward_listener(assembly):
    plain = dataclasses.replace(service(), base=BaseUrl("http", HOST, 80))
    view = assembly.view(snapshot(plain, listeners=(FORWARD,)))
    assert response_filters(view.named["api"]) == []


async def test_a_base_path_needs_the_access_filter_even_where_all_are_allowed(assembly):
    with_path = dataclasses.replace(service(), base=BaseUrl("https", HOST, 443, "/v1"))
    view = assembly.view(snapshot(with_path, access=Access((Rule(True, ("api",)),))))
    assert AccessFilter in request_filters(view.find(HOST, 443))


async def test_without_rules_services_are_for_the_own_uid_and_unknown_hosts_open(assembly):
    view = assembly.view(snapshot(service()))
    judge = view.find(HOST, 443).judge
    assert judge.may(OWN, HOST, 443)
    assert not judge.may(OTHER, HOST, 443)
    assert view.unknown.judge.may(OTHER, "x.test", 443)


async def test_with_rules_they_alone_decide(assembly):
    view = assembly.view(snapshot(service(), access=Access((Rule(True, ("api",), uids=(1001,)),))))
    judge = view.find(HOST, 443).judge
    assert judge.may(OTHER, HOST, 443)
    assert not judge.may(OWN, HOST, 443)
    assert not view.unknown.judge.may(OWN, "x.test", 443)


async def test_an_unknown_scheme_makes_a_snapshot_unusable(assembly):
    with pytest.raises(ValueError, match="unknown credential scheme"):
        assembly.view(snapshot(service(auths=(Auth("magic"),))))


async def test_pools_outlive_a_snapshot_that_changes_neither_egress_nor_trust(assembly):
    assembly.view(snapshot(service()))
    connector = assembly.connector
    router_policy = assembly._connector[0]
    pool = assembly.pools.get(PoolKey(HOST, 443, HOST, False, router_policy), PoolLimits())
    assembly.view(snapshot(service(auths=(AUTH,)), drain_old=1.0))
    assert assembly.connector is connector
    assert not pool.retired


@pytest.mark.parametrize("change", [{"egress": Egress(allow=("10.0.0.0/8",))}, {"extra_roots_pem": b"\n"}])
async def test_a_change_of_egress_or_trust_starts_new_pools(assembly, change):
    assembly.view(snapshot(service()))
    policy = assembly._connector[0]
    connector = assembly.connector
    pool = assembly.pools.get(PoolKey(HOST, 443, HOST, False, policy), PoolLimits())
    assembly.view(snapshot(service(), **change))
    assert assembly.connector is not connector
    assert pool.retired


def fault(name, seconds=60.0, **changes):
    scope = Rule(True, (changes.pop("service", "api"),))
    return Fault(name, FaultKind.STATUS, scope, time.time() + seconds, answer=FaultAnswer(503), **changes)


async def test_a_fault_is_in_the_chain_of_its_service_alone_and_only_while_it_lasts(assembly, autojump_clock):
    other = Service("other", (HostPattern("other.example"),), BaseUrl("https", "other.example", 443))
    view = assembly.view(snapshot(service(auths=(AUTH,)), other))
    chain, untouched = view.named["api"].chain, view.named["other"].chain
    assembly.set_faults([fault("f1")])
    assert request_filters(view.named["api"]) == [LoopFilter, AccessFilter, FaultFilter, CredentialFilter]
    assert view.named["api"].attempt_fault is None
    assert view.named["other"].chain is untouched
    assert view.unknown.attempt_fault is None
    await trio.sleep(61)
    assembly.end_faults(trio.current_time())
    assert request_filters(view.named["api"]) == request_filters_of(chain)
    assert assembly.faults() == {}


def request_filters_of(chain):
    return [type(hook.__self__) for hook, _ in chain.steps]


async def test_faults_outlive_snapshots_and_keep_their_counts(assembly):
    assembly.set_faults([fault("f1", place=FaultPlace.UPSTREAM), fault("f2", service="gone")])
    view = assembly.view(snapshot(service()))
    assert view.named["api"].attempt_fault
    assembly._injections["f1"].hits = 3
    assembly.set_faults([fault("f1", place=FaultPlace.UPSTREAM), fault("f3")])
    assert assembly.faults() == {"f1": 3, "f3": 0}
    again = assembly.view(snapshot(service()))
    assert again.named["api"].attempt_fault
    assert FaultFilter in request_filters(again.named["api"])
    assembly.set_faults([])
    assert again.named["api"].attempt_fault is None
    assert FaultFilter not in request_filters(again.named["api"])
