import dataclasses

import pytest
import trio

from proxyd.control.sharing import Sharing
from proxyd.store.memory import MemoryStore
from proxyd.store.protocol import StoreError
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Issued
from proxyd.tokens.shared import LEASE_SECONDS, Place, key_of
from tests.tokens.test_shared import SECRETS, SOURCE

PLAIN = dataclasses.replace(SOURCE, flow="client_credentials", secrets=SOURCE.secrets[:2])


class Issuer:
    """Rotates its refresh token, slowly."""

    def __init__(self, seconds=15.0):
        self.seconds = seconds
        self.refresh = b"refresh-0"
        self.asked = []

    async def ask(self, host, instead):
        used = instead.get("refresh_token", host.secrets["lab/refresh"])
        self.asked.append((host.member, used))
        await trio.sleep(self.seconds)
        if used != self.refresh:
            raise TokenError("the issuer answered 400 invalid_grant", is_final=True)
        number = len(self.asked)
        self.refresh = b"refresh-%d" % number
        host.secrets["lab/refresh"] = self.refresh
        return Issued({"access_token": b"token-%d" % number}, 3600.0, {"refresh_token": self.refresh})


class Host:
    def __init__(self, member, store, issuer, *, is_fleet=True):
        self.member = member
        self.store = store
        self.secrets = dict(SECRETS)
        self.known = 0
        tried = trio.Event()
        tried.set()
        self.sharing = Sharing(member, self.secrets.get, lambda: self.store, lambda: is_fleet, tried)
        self.issuer = issuer
        self.had = []

    async def have(self, source=SOURCE):
        had = await self.sharing.have(source, self.known, lambda instead: self.issuer.ask(self, instead))
        self.known = max(self.known, had.number)
        self.secrets["lab/refresh"] = had.issued.rotated.get("refresh_token", self.secrets["lab/refresh"])
        self.had.append(had.issued.values["access_token"])
        return had


class Broken(MemoryStore):
    async def read(self, key):
        raise StoreError("away")


@pytest.fixture
def store():
    return MemoryStore(trio.current_time)


@pytest.fixture
def issuer():
    return Issuer()


async def test_of_many_hosts_one_asks_and_all_have_its_token(store, issuer, autojump_clock):
    hosts = [Host(f"h{number}", store, issuer) for number in range(5)]
    for turn in (1, 2, 3):
        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(host.have)
        assert len(issuer.asked) == turn
        assert {host.had[-1] for host in hosts} == {b"token-%d" % turn}
        assert {host.secrets["lab/refresh"] for host in hosts} == {issuer.refresh}


async def test_a_lease_is_held_as_long_as_the_issuer_takes(store, autojump_clock):
    issuer = Issuer(seconds=4 * LEASE_SECONDS)
    one, two = Host("one", store, issuer), Host("two", store, issuer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.have)
        nursery.start_soon(two.have)
    assert len(issuer.asked) == 1
    assert one.had == two.had == [b"token-1"]


async def test_when_a_host_dies_while_it_asks_another_one_does(store, issuer, autojump_clock):
    one, two = Host("one", store, issuer), Host("two", store, issuer)
    one.sharing._let_go = nothing  # a process that is killed lets nothing go
    with trio.move_on_after(5):
        await one.have()
    await two.have()
    assert [member for member, _ in issuer.asked] == ["one", "two"]
    assert two.had == [b"token-2"]
    assert trio.current_time() >= LEASE_SECONDS + issuer.seconds


async def nothing(*_):
    """Do nothing."""


async def test_what_the_issuer_refuses_is_asked_for_with_what_another_host_stored(store, issuer, autojump_clock):
    one = Host("one", store, issuer)
    await one.have()
    late = Host("late", store, issuer)  # its vault has the first refresh token still
    late.known = one.known
    await late.have()
    assert issuer.asked[-1] == ("late", b"refresh-1")
    assert late.secrets["lab/refresh"] == issuer.refresh


async def test_a_refresh_token_that_was_stored_here_anew_goes_first(store, issuer, autojump_clock):
    one = Host("one", store, issuer)
    await one.have()
    issuer.refresh = one.secrets["lab/refresh"] = b"of a new consent"
    await one.have()
    assert [used for _, used in issuer.asked] == [b"refresh-0", b"of a new consent"]


async def test_where_a_new_one_is_refused_the_stores_is_tried(store, issuer, autojump_clock):
    one = Host("one", store, issuer)
    await one.have()
    one.secrets["lab/refresh"] = b"mistyped"
    await one.have()
    assert [used for _, used in issuer.asked] == [b"refresh-0", b"mistyped", b"refresh-1"]


async def test_what_the_store_missed_is_not_asked_for_with_what_was_replaced(store, issuer, autojump_clock):
    one, two = Host("one", store, issuer), Host("two", store, issuer)
    await one.have()
    await two.have()
    put, Place.put = Place.put, missing
    try:
        await one.have()  # the issuer has replaced the refresh token, and the store does not know
    finally:
        Place.put = put
    await one.sharing._let_go(Place(store, key_of(SOURCE, SECRETS.get), "one"), 2)
    after = Host("one", store, issuer)  # a control that was started anew: nothing is in memory
    after.secrets.update(one.secrets)
    after.known = 1
    await after.have()
    assert [used for _, used in issuer.asked] == [b"refresh-0", b"refresh-1", b"refresh-2"]


async def missing(*_):
    """Be away."""
    raise StoreError("away")


async def test_an_issuer_that_replaces_nothing_is_asked_with_the_same_by_all(store, issuer, autojump_clock):
    async def plain(host, instead):
        issuer.asked.append((host.member, instead["refresh_token"]))
        return Issued({"access_token": b"token-%d" % len(issuer.asked)}, 3600.0)

    issuer.ask = plain
    one, two = Host("one", store, issuer), Host("two", store, issuer)
    await one.have()
    two.known = 1
    await two.have()
    assert issuer.asked == [("one", b"refresh-0"), ("two", b"refresh-0")]


async def test_a_failure_lets_the_next_host_ask_at_once(store, issuer, autojump_clock):
    one, two = Host("one", store, issuer), Host("two", store, issuer)
    issuer.refresh = b"lost"
    with pytest.raises(TokenError, match="invalid_grant"):
        await one.have()
    issuer.refresh = b"refresh-0"
    begin = trio.current_time()
    await two.have()
    assert trio.current_time() - begin < issuer.seconds + LEASE_SECONDS / 2


@pytest.mark.parametrize("make", [lambda: None, Broken], ids=["none", "broken"])
async def test_without_a_store_a_fleet_does_not_use_a_refresh_token_and_asks_alone_for_other_tokens(
    make, issuer, autojump_clock
):
    host = Host("one", make(), issuer)
    with pytest.raises(TokenError, match="the store is away"):
        await host.have()
    assert (await host.have(PLAIN)).number == 0
    assert len(issuer.asked) == 1


async def test_a_host_that_is_alone_needs_no_store(issuer, autojump_clock):
    host = Host("one", None, issuer, is_fleet=False)
    assert (await host.have()).issued.values == {"access_token": b"token-1"}
