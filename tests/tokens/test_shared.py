import dataclasses

import pytest

from proxyd.core.settings import TokenSource
from proxyd.store.memory import MemoryStore
from proxyd.tokens.shared import LEASE_SECONDS, LEAST_SECONDS, Key, Place, key_of

SOURCE = TokenSource(
    name="token:lab",
    service="lab",
    flow="refresh_token",
    url="https://issuer.example/token",
    secrets=(("client_id", "lab/id"), ("client_secret", "lab/secret"), ("refresh_token", "lab/refresh")),
    options=(),
    hosts=("issuer.example",),
    line=1,
)
SECRETS = {"lab/id": b"id", "lab/secret": b"a secret of a client", "lab/refresh": b"refresh-0"}
KEY = Key("token/0123", bytes(range(32)))


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock)


def place(store, member="one", key=KEY):
    return Place(store, key, member)


async def put(where, life=3600.0, value=b"t0ken", rotated=None):
    taken = await where.take(2**60)
    return await where.put(taken.fence, {"access_token": value}, rotated or {}, life)


async def test_one_of_two_hosts_asks_and_the_other_waits_for_what_it_writes(store):
    one, two = place(store), place(store, "two")
    mine = await one.take(0)
    assert mine.fence == 1
    theirs = await two.take(0)
    assert (theirs.fence, theirs.seconds) == (0, LEASE_SECONDS)
    assert await one.put(1, {"access_token": b"t0ken"}, {"refresh_token": b"r-1"}, 3600.0) == 1
    theirs = await two.take(0)
    assert (theirs.token.number, theirs.life) == (1, 3600.0)
    assert (theirs.token.values, theirs.token.rotated) == ({"access_token": b"t0ken"}, {"refresh_token": b"r-1"})


async def test_a_token_that_is_known_is_none_and_the_last_one_comes_with_the_lease(store):
    await put(place(store), rotated={"refresh_token": b"r-1"})
    taken = await place(store, "two").take(1)
    assert taken.fence == 2
    assert taken.token.rotated == {"refresh_token": b"r-1"}


async def test_a_token_that_is_nearly_over_is_not_taken_over(store, clock):
    await put(place(store), life=60.0)
    clock.now += 60.0 - LEAST_SECONDS
    assert (await place(store, "two").take(0)).fence == 2


async def test_a_lease_that_is_not_renewed_ends_and_its_holder_is_told_so(store, clock):
    one, two = place(store), place(store, "two")
    first = await one.take(0)
    clock.now += LEASE_SECONDS - 1
    assert await one.renew(first.fence)
    clock.now += LEASE_SECONDS - 1
    assert not (await two.take(0)).fence
    clock.now += 2
    second = await two.take(0)
    assert second.fence > first.fence
    assert not await one.renew(first.fence)
    assert await one.put(first.fence, {"access_token": b"late"}, {}, 3600.0) == 0
    assert await two.put(second.fence, {"access_token": b"t0ken"}, {}, 3600.0) == 1
    assert (await one.take(0)).token.values == {"access_token": b"t0ken"}


async def test_a_lease_that_is_let_go_is_the_next_ones(store):
    one, two = place(store), place(store, "two")
    taken = await one.take(0)
    await one.release(taken.fence)
    assert (await two.take(0)).fence == 2
    await one.release(taken.fence)
    assert not (await one.take(0)).fence


async def test_a_process_that_comes_after_a_killed_one_of_its_host_need_not_wait(store):
    await place(store).take(0)
    assert (await place(store).take(0)).fence == 2


async def test_nothing_in_the_store_gives_a_token_away(store):
    await put(place(store), value=b"very-secret-token", rotated={"refresh_token": b"very-secret-refresh"})
    assert b"very-secret" not in (await store.read(KEY.place)).value


@pytest.mark.parametrize("spoil", [lambda value: value[:-1], lambda value: b"", lambda value: b"\x96" + value[1:8]])
async def test_a_record_that_was_changed_is_none(store, spoil):
    await put(place(store))
    entry = await store.read(KEY.place)
    await store.swap(KEY.place, entry.version, spoil(entry.value), None)
    assert (await place(store, "two").take(0)).fence


async def test_a_record_that_another_key_sealed_is_asked_for_anew(store):
    await put(place(store))
    strange = place(store, "two", Key(KEY.place, bytes(32)))
    taken = await strange.take(0)
    assert (taken.token, taken.fence) == (None, 2)


def test_the_key_is_made_of_what_stays_and_is_shown_to_nobody():
    key = key_of(SOURCE, SECRETS.get)
    assert key == key_of(SOURCE, {**SECRETS, "lab/refresh": b"refresh-1"}.get)
    assert key != key_of(SOURCE, {**SECRETS, "lab/secret": b"another"}.get)
    assert key != key_of(dataclasses.replace(SOURCE, url="https://other.example/token"), SECRETS.get)
    assert key != key_of(dataclasses.replace(SOURCE, options=(("scope", "x"),)), SECRETS.get)
    assert repr(key) == f"Key({key.place})"
    assert len(key.seal) == 32


@pytest.mark.parametrize("missing", ["lab/id", "lab/secret"])
def test_without_a_value_there_is_no_key(missing):
    assert key_of(SOURCE, {name: value for name, value in SECRETS.items() if name != missing}.get) is None


def test_of_a_refresh_token_alone_there_is_no_key():
    alone = dataclasses.replace(SOURCE, secrets=(("refresh_token", "lab/refresh"),))
    assert key_of(alone, SECRETS.get) is None
