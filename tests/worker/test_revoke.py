import dataclasses

import pytest

from proxyd.core.access import Access, Rule
from proxyd.core.authority import Authority
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request
from proxyd.core.service import BaseUrl, HostPattern, Service
from proxyd.core.snapshot import Egress, Listener, ListenerMode, Snapshot, UnknownHosts
from proxyd.net.reaper import Reaper
from proxyd.worker.assemble import Assembly
from proxyd.worker.endings import Endings
from proxyd.worker.meter import Meter
from proxyd.worker.observe import Events, Observer
from proxyd.worker.revoke import is_forbidden

HOST = "api.example"
SERVICE = Service("api", (HostPattern(HOST),), BaseUrl("https", HOST, 443))
PEER = Peer("apps", "127.0.0.1", 4000, uid=1000)


class Busy:
    """A connection as revocation looks at it: what it is doing, and within which tunnel."""

    serves = ListenerMode.FORWARD

    def __init__(self, exchange=None, authority=None):
        self.exchange = exchange
        self.authority = authority


def running(method=b"GET", host=HOST, port=443, path=b"/", tunnel=None):
    request = Request(method, b"https", Authority(host, port, False), path, [], BytesBody())
    exchange = Exchange(PEER, Snapshot(1, "p", 1000), request, 0.0, "plain")
    return Busy(exchange, Authority(*tunnel, False) if tunnel else None)


def listener(unknown=UnknownHosts.TUNNEL):
    return Listener("apps", ListenerMode.FORWARD, "127.0.0.1:0", unknown)


@pytest.fixture
async def assembly():
    meter = Meter()
    return Assembly(Reaper(), Observer(meter, Events(meter), Endings(lambda _: True)), meter)


@pytest.fixture
async def judged(assembly):
    """Whether a connection is forbidden by a snapshot made of ``changes``."""

    def judge(connection, there=None, **changes):
        view = assembly.view(Snapshot(2, "p", 1000, **{"services": (SERVICE,), **changes}))
        return is_forbidden(connection.exchange, connection, view, there or listener())

    return judge


async def test_a_connection_of_a_listener_that_went_is_forbidden():
    assert is_forbidden(None, Busy(), None, None)


async def test_an_idle_connection_goes_on(judged):
    assert not judged(Busy())


async def test_an_exchange_that_is_still_allowed_goes_on(judged):
    assert not judged(running())
    assert not judged(running(host="x.test"))


@pytest.mark.parametrize(
    "rule",
    [
        Rule(False, ("api",)),
        Rule(False, ("api",), methods=("GET",)),
        Rule(False, ("api",), paths=("/v1",)),
        Rule(False, ("api",), uids=(1000,)),
    ],
)
async def test_an_exchange_that_the_rules_forbid_now_is_cut(judged, rule):
    access = Access((rule, Rule(True, ("api",))))
    assert judged(running(path=b"/v1/a"), access=access)
    assert not judged(running(path=b"/v1/a"), access=Access((Rule(True, ("api",)), rule)))


async def test_within_a_tunnel_the_tunnels_authority_counts(judged):
    inside = running(tunnel=(HOST, 8443))
    assert judged(inside)
    assert not judged(running(tunnel=(HOST, 443)))


async def test_a_tunnel_to_what_is_a_service_now_is_cut(judged):
    tunnel = running(b"CONNECT", "new.example")
    assert not judged(tunnel)
    claimed = Service("new", (HostPattern("new.example"),), BaseUrl("https", "new.example", 443))
    assert judged(tunnel, services=(SERVICE, claimed))


@pytest.mark.parametrize(
    ("unknown", "forbidden"), [(UnknownHosts.DENY, True), (UnknownHosts.TUNNEL, False), (UnknownHosts.INTERCEPT, False)]
)
async def test_a_tunnel_is_cut_where_the_listener_denies_unknown_hosts_now(judged, unknown, forbidden):
    assert judged(running(b"CONNECT", "x.test"), listener(unknown)) is forbidden
    assert not judged(running(b"GET", "x.test"), listener(unknown))


async def test_a_port_that_is_no_longer_listed_is_cut(judged):
    tunnel = running(b"CONNECT", "x.test", 8443)
    assert judged(tunnel)
    assert not judged(tunnel, egress=Egress(ports=(8443,)))


async def test_a_tunnel_is_not_kept_by_a_rule_that_looks_into_requests(judged):
    hosts = (HostPattern("", wildcard=True),)
    looks = Access((Rule(True, hosts=hosts, methods=("GET",)),))
    assert judged(running(b"CONNECT", "x.test"), access=looks)
    assert not judged(running(b"GET", "x.test"), access=looks)
    assert not judged(running(b"CONNECT", "x.test"), access=Access((Rule(True, hosts=hosts),)))


class AtGateway(Busy):
    serves = ListenerMode.GATEWAY


@pytest.mark.parametrize("kind", [Busy, AtGateway])
async def test_without_a_tunnel_the_services_name_counts_and_not_the_port_of_its_base_url(assembly, kind):
    there = Listener("there", kind.serves, "unix:/there")
    service = Service("api", (HostPattern(HOST),), BaseUrl("https", HOST, 8443, "/v1"))
    access = Access((Rule(True, ("api",)),))
    exchange = running(port=8443, path=b"/v1/a").exchange
    exchange.service = service

    def forbidden(*services, there=there, access=access):
        view = assembly.view(Snapshot(2, "p", 1000, services=services, access=access))
        return is_forbidden(exchange, kind(), view, there)

    assert not forbidden(service)
    assert forbidden()
    assert forbidden(dataclasses.replace(service, hosts=(HostPattern("other.example"),)))
    assert forbidden(service, access=Access())
    assert forbidden(service, there=None)


async def test_a_listener_that_speaks_something_else_now_ends_its_connections():
    assert is_forbidden(None, AtGateway(), None, listener())
    assert is_forbidden(None, Busy(), None, Listener("apps", ListenerMode.GATEWAY, "127.0.0.1:0"))
