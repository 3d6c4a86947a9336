import dns.rcode
import pytest
import trio

from proxyd.control.discovery import records
from proxyd.control.discovery.records import Records, SrvRecord
from proxyd.control.discovery.watch import DiscoveryError
from tests.lab.nameserver import NameServer

NAME = "backend.example"


class Asked:
    """Answers questions as the test says, and counts them."""

    def __init__(self, *values, ttl=10.0):
        self.values = values
        self.ttl = ttl
        self.why = ""
        self.count = 0

    async def __call__(self, name, kind, servers):
        self.count += 1
        if self.why:
            raise DiscoveryError(self.why)
        return self.values, self.ttl


@pytest.fixture
def nameserver():
    with NameServer({(NAME, "A"): (7, ["192.0.2.1", "192.0.2.2"])}) as running:
        yield running


def servers(nameserver):
    return (("127.0.0.1", nameserver.port),)


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1.0), (10, 10.0), (86400, 300.0)])
async def test_answers_are_kept_for_their_time_to_live_within_bounds(autojump_clock, ttl, kept):
    asked = Asked("192.0.2.1", ttl=ttl)
    cache = Records(asked)
    for _ in range(2):
        await cache.get(NAME, "A", ())
    await trio.sleep(kept - 0.01)
    await cache.get(NAME, "A", ())
    assert asked.count == 1
    await trio.sleep(0.02)
    await cache.get(NAME, "A", ())
    assert asked.count == 2


async def test_a_stale_answer_is_served_when_the_resolver_fails_and_says_so(autojump_clock):
    asked = Asked("192.0.2.1")
    cache = Records(asked)
    await cache.get(NAME, "A", ())
    await trio.sleep(86400)
    asked.why = "no resolver"
    stale = await cache.get(NAME, "A", ())
    assert (stale.values, stale.why) == (("192.0.2.1",), "no resolver")
    with pytest.raises(DiscoveryError, match="no resolver"):
        await cache.get("other.example", "A", ())


async def test_the_cache_is_bounded_and_keeps_what_was_used_last(monkeypatch):
    monkeypatch.setattr(records, "MAX_ENTRIES", 2)
    asked = Asked("192.0.2.1")
    cache = Records(asked)
    for name in ("a", "b", "a", "c", "a"):
        await cache.get(name, "A", ())
    assert (len(cache), asked.count) == (2, 3)


async def test_a_resolver_is_asked_and_its_time_to_live_is_told(nameserver):
    values, ttl = await records.query(NAME, "A", servers(nameserver))
    assert (set(values), ttl) == ({"192.0.2.1", "192.0.2.2"}, 7.0)
    assert (await records.query(NAME, "AAAA", servers(nameserver)))[0] == ()


async def test_srv_records_are_read_and_a_truncated_answer_is_asked_for_by_tcp(nameserver):
    nameserver.zone["_x._tcp.example", "SRV"] = (5, ["1 10 8443 b.example.", "0 5 443 a.example."])
    nameserver.truncates = True
    values, ttl = await records.query("_x._tcp.example", "SRV", servers(nameserver))
    assert set(values) == {SrvRecord(1, 10, 8443, "b.example"), SrvRecord(0, 5, 443, "a.example")}
    assert (ttl, nameserver.asked["tcp SRV"]) == (5.0, 1)


async def test_what_a_resolver_refuses_is_said_in_words(nameserver, monkeypatch):
    with pytest.raises(DiscoveryError, match=r"nowhere\.example does not exist"):
        await records.query("nowhere.example", "A", servers(nameserver))
    nameserver.rcode = dns.rcode.SERVFAIL
    with pytest.raises(DiscoveryError, match="SERVFAIL"):
        await records.query(NAME, "A", servers(nameserver))
    nameserver.rcode, nameserver.is_silent = None, True
    monkeypatch.setattr(records, "LIFETIME", 0.2)
    with pytest.raises(DiscoveryError, match=r"within 0\.2 s"):
        await records.query(NAME, "A", servers(nameserver))
