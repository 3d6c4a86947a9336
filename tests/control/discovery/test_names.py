import random

import pytest
import trio

from proxyd.control.discovery import names
from proxyd.control.discovery.records import Records, SrvRecord
from proxyd.control.discovery.watch import DiscoveryError, Watch
from proxyd.core.discovery import Discovery, Dns, Srv
from proxyd.core.service import Endpoint

DNS = Dns("backend.example", 8443)
SRV = Srv("_x._tcp.example")


class Zone(dict):
    """(name, kind) to values, or to an error's text; what is missing has no records."""

    async def __call__(self, name, kind, servers):
        found = self.get((name, kind), ())
        if isinstance(found, str):
            raise DiscoveryError(found)
        return found, 5.0


@pytest.fixture(autouse=True)
def every_address_has_a_route(monkeypatch):
    monkeypatch.setattr(names, "_has_route", lambda address: True)


async def test_every_address_of_both_families_is_an_endpoint():
    zone = Zone({("backend.example", "A"): ("192.0.2.2", "192.0.2.1"), ("backend.example", "AAAA"): ("2001:db8::1",)})
    found, _ = await names.addresses_of(DNS, Records(zone))
    assert found == [Endpoint(host, 8443) for host in ("192.0.2.1", "192.0.2.2", "2001:db8::1")]


async def test_one_family_is_enough_where_the_other_fails_and_that_is_told():
    zone = Zone({("backend.example", "A"): ("192.0.2.1",), ("backend.example", "AAAA"): "SERVFAIL"})
    found, answers = await names.addresses_of(DNS, Records(zone))
    assert [endpoint.host for endpoint in found] == ["192.0.2.1"]
    assert "SERVFAIL" in [answer.why for answer in answers]


async def test_a_name_without_addresses_is_an_error():
    with pytest.raises(DiscoveryError, match="neither A nor AAAA"):
        await names.addresses_of(DNS, Records(Zone()))


def test_addresses_without_a_route_are_left_out_unless_all_are(monkeypatch):
    monkeypatch.setattr(names, "_has_route", lambda address: ":" not in address)
    assert names.routable(["192.0.2.1", "2001:db8::1"]) == ["192.0.2.1"]
    assert names.routable(["2001:db8::1"]) == ["2001:db8::1"]


async def test_srv_priorities_become_ranks_and_weights_are_shared_by_addresses():
    zone = Zone(
        {
            (SRV.name, "SRV"): (SrvRecord(10, 60, 8443, "a.example"), SrvRecord(20, 60, 443, "b.example")),
            ("a.example", "A"): ("192.0.2.1", "192.0.2.2"),
            ("b.example", "A"): ("192.0.2.3",),
        }
    )
    found, _ = await names.targets_of(SRV, Records(zone))
    assert found == [
        Endpoint("192.0.2.1", 8443, 30, 0),
        Endpoint("192.0.2.2", 8443, 30, 0),
        Endpoint("192.0.2.3", 443, 60, 1),
    ]


async def test_srv_weights_beyond_the_bound_keep_their_proportion():
    zone = Zone(
        {
            (SRV.name, "SRV"): (SrvRecord(0, 65535, 1, "a.example"), SrvRecord(0, 0, 1, "b.example")),
            ("a.example", "A"): ("192.0.2.1",),
            ("b.example", "A"): ("192.0.2.2",),
        }
    )
    found, _ = await names.targets_of(SRV, Records(zone))
    assert [endpoint.weight for endpoint in found] == [1000, 1]


async def test_a_target_that_cannot_be_resolved_leaves_the_others():
    zone = Zone(
        {
            (SRV.name, "SRV"): (SrvRecord(0, 1, 1, "a.example"), SrvRecord(0, 1, 1, "b.example")),
            ("a.example", "A"): ("192.0.2.1",),
        }
    )
    found, answers = await names.targets_of(SRV, Records(zone))
    assert [endpoint.host for endpoint in found] == ["192.0.2.1"]
    assert any("b.example has neither" in answer.why for answer in answers)


@pytest.mark.parametrize("records", [(), (SrvRecord(0, 0, 0, ""),)])
async def test_an_srv_name_that_offers_nothing_is_an_error(records):
    with pytest.raises(DiscoveryError, match="no SRV record that names a target"):
        await names.targets_of(SRV, Records(Zone({(SRV.name, "SRV"): records})))


async def test_a_family_that_always_fails_does_not_slow_the_other_down(autojump_clock, nursery):
    zone = Zone({("backend.example", "A"): ("192.0.2.1",), ("backend.example", "AAAA"): "SERVFAIL"})
    watch = Watch(Discovery("api", DNS), trio.Event(), random.Random(1))
    nursery.start_soon(names.follow, DNS, watch, Records(zone))
    await trio.sleep(100)
    zone["backend.example", "A"] = ("192.0.2.9",)
    await trio.sleep(5.5)
    assert watch.endpoints == (Endpoint("192.0.2.9", 8443),)


async def test_a_name_that_vanishes_keeps_its_endpoints_and_one_that_comes_back_is_used(autojump_clock, nursery):
    zone = Zone({("backend.example", "A"): ("192.0.2.1",)})
    watch = Watch(Discovery("api", DNS), trio.Event(), random.Random(1))
    nursery.start_soon(names.follow, DNS, watch, Records(zone))
    await watch.heard.wait()
    assert watch.endpoints == (Endpoint("192.0.2.1", 8443),)
    zone["backend.example", "A"] = "gone"
    await trio.sleep(6)
    assert (watch.endpoints, watch.problems) == ((Endpoint("192.0.2.1", 8443),), ("gone",))
    zone["backend.example", "A"] = ("192.0.2.9",)
    await trio.sleep(31)
    assert (watch.endpoints, watch.problems) == ((Endpoint("192.0.2.9", 8443),), ())
