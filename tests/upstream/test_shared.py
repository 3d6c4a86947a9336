"""Bookkeeping of pools whose connections carry many exchanges."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.core.counts import CONNECTIONS, PENDING
from proxyd.core.errors import Flag, ProxyError, Retry
from proxyd.core.limits import PoolLimits
from proxyd.core.resilience import Thresholds
from proxyd.core.service import Version
from proxyd.upstream.load import Load
from proxyd.upstream.pool import Pool, PoolKey, PoolSet
from proxyd.upstream.shared import MAX_REQUESTS, Shared, SharedPool, make_pool

KEY = PoolKey("192.0.2.1", 443, "origin.example", False, "p", Version.AUTO.value)
REFUSED = ProxyError(502, Flag.UPSTREAM_CONNECT, "connection_refused", "refused", retry=Retry.ALWAYS)


class Fake(Shared):
    """A connection of many exchanges without a socket."""

    def __init__(self, pool: SharedPool, now: float = 0.0) -> None:
        super().__init__(pool, now)
        self.is_open = True
        self.tended = 0

    def is_alive(self) -> bool:
        return self.is_open and not self.is_leaving

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.pool.lost(self)

    def tend(self, now: float) -> None:
        self.tended += 1


class Single:
    """A connection of one exchange at a time."""

    def __init__(self) -> None:
        self.born = self.idle_since = 0.0
        self.requests = 0
        self.is_open = True

    def is_alive(self) -> bool:
        return self.is_open

    def close(self) -> None:
        self.is_open = False


def make(**limits: float) -> SharedPool:
    return SharedPool(KEY, PoolLimits(**limits))  # type: ignore[arg-type]


def dial(pool: SharedPool, streams: int | None = 10) -> Fake:
    """Reserve, dial and settle; the exchange that dialled has its room."""
    assert pool.reserve()
    connection = Fake(pool)
    pool.dialled(connection, 0.0)
    if streams is not None:
        connection.settled(streams, 0.0)
    return connection


def test_the_kind_of_a_pool_follows_its_protocol() -> None:
    assert isinstance(make_pool(KEY, PoolLimits()), SharedPool)
    assert type(make_pool(KEY._replace(protocol="http/1.1"), PoolLimits())) is Pool


def test_a_connection_is_lent_until_it_is_full() -> None:
    pool = make()
    connection = dial(pool, streams=3)
    assert [pool.take(1.0) for _ in range(3)] == [connection, connection, None]
    connection.give_back(2.0)
    assert pool.take(2.0) is connection
    assert (pool.open, pool.count_idle()) == (1, 0)


def test_the_configuration_bounds_what_the_peer_allows() -> None:
    pool = make(streams=2)
    connection = dial(pool, streams=1000)
    assert connection.capacity == 2


def test_nothing_is_lent_before_settings_are_there() -> None:
    pool = make()
    connection = dial(pool, streams=None)
    assert pool.take(0.0) is None
    assert not pool.reserve(), "the dial that is under way will have room"
    connection.settled(5, 0.0)
    assert pool.take(0.0) is connection


def test_a_connection_that_was_full_is_dialled_beside() -> None:
    pool = make()
    dial(pool, streams=1)
    assert pool.take(0.0) is None
    assert pool.reserve()
    assert not make(connections=0).reserve()


def test_settings_that_allow_less_than_runs_take_a_connection_out_until_enough_ended() -> None:
    pool = make()
    connection = dial(pool, streams=3)
    assert pool.take(0.0) is connection
    connection.settled(1, 0.0)
    assert pool.take(0.0) is None
    connection.give_back(0.0)
    assert pool.take(0.0) is None
    connection.give_back(0.0)
    assert pool.take(0.0) is connection


async def test_who_waits_for_a_dial_gets_room_on_its_connection(nursery: trio.Nursery) -> None:
    pool = make()
    got = []

    async def wait() -> None:
        got.append(await pool.wait())

    connection = dial(pool, streams=None)
    for _ in range(4):
        nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    connection.settled(3, 0.0)
    await wait_all_tasks_blocked()
    assert sorted(got, key=bool) == [None, connection, connection]
    assert len(pool.waiters) == 1, "two have room, one dials, and its dial has room for the last"
    assert (pool.dialling, pool.open) == (1, 2)


async def test_who_waits_is_served_when_an_exchange_ends(nursery: trio.Nursery) -> None:
    pool = make(connections=1)
    connection = dial(pool, streams=1)
    got = []

    async def wait() -> None:
        got.append(await pool.wait())

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    connection.give_back(0.0)
    await wait_all_tasks_blocked()
    assert got == [connection]
    assert connection.taken == 1


async def test_a_dial_that_fails_fails_all_who_wait_for_it(nursery: trio.Nursery) -> None:
    pool = make()
    errors = []

    async def wait() -> None:
        with pytest.raises(ProxyError) as caught:
            await pool.wait()
        errors.append(caught.value)

    assert pool.reserve()
    for _ in range(3):
        nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    pool.failed(REFUSED)
    await wait_all_tasks_blocked()
    assert [error.error for error in errors] == ["connection_refused"] * 3
    assert len({id(error) for error in errors}) == 3, "each has its own"
    assert (pool.open, pool.dialling) == (0, 0)


async def test_who_waits_dials_anew_when_the_client_that_dialled_left(nursery: trio.Nursery) -> None:
    pool = make()
    got = []

    async def wait() -> None:
        got.append(await pool.wait())

    assert pool.reserve()
    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    pool.failed(None)
    await wait_all_tasks_blocked()
    assert got == [None]
    assert (pool.open, pool.dialling) == (1, 1)


async def test_a_dial_beside_a_full_connection_that_fails_leaves_the_others_waiting(nursery: trio.Nursery) -> None:
    pool = make()
    connection = dial(pool, streams=1)
    got = []

    async def wait() -> None:
        got.append(await pool.wait())

    pool.capacity = 10
    assert pool.reserve()
    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    pool.failed(REFUSED)
    await wait_all_tasks_blocked()
    assert got == [None], "it dials in its turn"
    assert connection.is_open


async def test_an_upstream_of_http_1_has_all_who_wait_dial(nursery: trio.Nursery) -> None:
    pool = make()
    got = []

    async def wait() -> None:
        got.append(await pool.wait())

    assert pool.reserve()
    for _ in range(3):
        nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    single = Single()
    pool.dialled(single, 0.0)
    await wait_all_tasks_blocked()
    assert got == [None] * 3
    pool.release(single, 0.0)
    assert pool.take(0.0) is single
    single.is_open = False
    pool.release(single, 0.0)
    assert pool.take(0.0) is None
    assert pool.open == 3


async def test_room_that_a_cancelled_wait_was_given_goes_back() -> None:
    pool = make(connections=1)
    connection = dial(pool, streams=1)
    connection.born = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.wait)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        connection.give_back(0.0)
    assert connection.taken == 0
    assert pool.take(0.0) is connection


@pytest.mark.parametrize("limits", [{"age": 5.0}, {"requests": 2}])
def test_a_connection_that_is_over_its_time_leaves_with_its_last_exchange(limits: dict[str, float]) -> None:
    pool = make(**limits)
    connection = dial(pool)
    connection.requests = 2
    assert pool.take(6.0) is None
    assert connection.is_open
    connection.give_back(7.0)
    assert not connection.is_open
    assert pool.open == 0


def test_stream_numbers_run_out_one_day() -> None:
    pool = make()
    connection = dial(pool)
    connection.requests = MAX_REQUESTS
    connection.give_back(0.0)
    assert not connection.is_open


def test_a_sweep_closes_what_is_idle_for_long_and_tends_the_rest() -> None:
    pool = make(idle=10.0)
    idle, busy = dial(pool, streams=1), dial(pool, streams=1)
    idle.give_back(0.0)
    pool.sweep(9.0)
    assert idle.is_open
    pool.sweep(10.0)
    assert not idle.is_open
    assert busy.is_open
    assert busy.tended == 2
    assert pool.open == 1


def test_a_lost_connection_is_not_lent_and_its_place_is_free() -> None:
    pool = make(connections=1)
    connection = dial(pool)
    connection.close()
    assert pool.take(0.0) is None
    assert pool.reserve()
    connection.give_back(0.0)
    assert pool.open == 1, "the exchange that ends late changes nothing"


def test_a_connection_that_is_lost_before_settings_ends_its_dial() -> None:
    pool = make()
    dial(pool, streams=None).close()
    assert (pool.dialling, pool.open) == (0, 0)


def test_a_retired_pool_keeps_what_is_busy_until_it_ends() -> None:
    pool = make()
    idle, busy = dial(pool, streams=1), dial(pool, streams=1)
    idle.give_back(0.0)
    single = Single()
    assert pool.reserve()
    pool.dialled(single, 0.0)
    pool.release(single, 0.0)
    pool.retire()
    assert (idle.is_open, busy.is_open, single.is_open) == (False, True, False)
    busy.give_back(0.0)
    assert not busy.is_open
    assert pool.open == 0


async def test_connections_and_waiters_count_for_the_services_thresholds(nursery: trio.Nursery) -> None:
    load = Load("a", Thresholds(connections=2, pending=1))
    pools = PoolSet(make_pool)
    pool = pools.get(KEY, PoolLimits(), load)
    assert isinstance(pool, SharedPool)
    dial(pool, streams=1)
    last = dial(pool, streams=1)
    assert load.total(CONNECTIONS) == 2
    assert not pool.reserve()
    nursery.start_soon(pool.wait)
    await wait_all_tasks_blocked()
    assert load.total(PENDING) == 1
    with pytest.raises(ProxyError):
        await pool.wait()
    last.give_back(0.0)
    await wait_all_tasks_blocked()
    assert load.total(PENDING) == 0
    assert pools.totals() == (2, 0)
