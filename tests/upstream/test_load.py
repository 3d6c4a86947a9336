import random

import pytest
import trio

from proxyd.core.counts import CONNECTIONS, PENDING, REQUESTS, RETRIES, SharedCounts
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.limits import PoolLimits
from proxyd.core.message import BytesBody, Request
from proxyd.core.resilience import Resilience, Thresholds
from proxyd.core.service import BaseUrl, Service
from proxyd.core.snapshot import Snapshot
from proxyd.upstream.cluster import ClusterSet
from proxyd.upstream.load import Load
from proxyd.upstream.pool import Pool, PoolKey, PoolSet

FEW = Thresholds(connections=2, pending=1, requests=3, retries=1)
KEY = PoolKey("192.0.2.1", 443, "a.test", True, "")


def exchange() -> Exchange:
    request = Request(b"GET", b"https", None, b"/", [], BytesBody())  # type: ignore[arg-type]
    return Exchange(Peer("apps", "127.0.0.1", 1), Snapshot(1, "p", 0), request, 0.0, "plain")


def service(name: str, thresholds: Thresholds = FEW) -> Service:
    return Service(name, (), BaseUrl("https", f"{name}.test", 443), resilience=Resilience(thresholds=thresholds))


def two_workers(*names: str) -> list[ClusterSet]:
    counts = SharedCounts()
    workers = []
    for index in range(2):
        counts.assign(index)
        workers.append(ClusterSet(random.Random(1), row=counts.row(index)))
        workers[-1].apply([service(name) for name in names], 0.0, is_alone=False)
    return workers


class TestOneWorker:
    def test_a_request_beyond_the_threshold_is_refused_and_counted(self) -> None:
        told: list[tuple[str, str]] = []
        load = Load("a", FEW, lambda *what: told.append(what))
        running = [exchange() for _ in range(3)]
        for each in running:
            load.enter(each)

        with pytest.raises(ProxyError) as caught:
            load.enter(exchange())

        error = caught.value
        assert (error.status, error.flag, error.error) == (503, Flag.UPSTREAM_OVERFLOW, "connection_limit_reached")
        assert "breaker.max_requests" in error.detail
        assert told == [("a", "max_requests")]
        load.leave(running[0])
        load.enter(exchange())

    def test_an_exchange_in_its_third_attempt_is_one_retry(self) -> None:
        load = Load("a", FEW)
        one, other = exchange(), exchange()
        load.enter(one)
        load.enter(other)
        assert load.try_retry(one)
        assert load.try_retry(one)
        assert not load.try_retry(other)
        load.end_retry(one)
        assert load.try_retry(other)

    def test_the_end_of_an_exchange_gives_back_all_that_it_held(self) -> None:
        load = Load("a", FEW)
        one = exchange()
        load.enter(one)
        load.try_retry(one)
        load.leave(one)
        assert repr(load) == "<Load a connections=0 pending=0 requests=0 retries=0>"
        assert one.held is None
        assert not one.retrying

    def test_an_exchange_that_goes_to_another_service_is_counted_there_alone(self) -> None:
        first, second = Load("a", FEW), Load("b", FEW)
        one = exchange()
        first.enter(one)
        second.enter(one)
        assert first.total(REQUESTS) == 0
        assert second.total(REQUESTS) == 1


class TestAcrossWorkers:
    def test_places_are_counted_in_all_workers(self) -> None:
        one, other = (worker.apply([service("a")], 0.0, is_alone=False)["a"].load for worker in two_workers("a"))
        assert one.try_take(CONNECTIONS)
        assert other.try_take(CONNECTIONS)
        assert not one.try_take(CONNECTIONS)
        other.give_back(CONNECTIONS)
        assert one.try_take(CONNECTIONS)

    def test_counts_move_with_their_service_when_a_reload_changes_the_order(self) -> None:
        workers = two_workers("b")
        for worker in workers:
            load = worker.apply([service("b")], 0.0, is_alone=False)["b"].load
            assert load.try_take(CONNECTIONS)
        loads = [worker.apply([service("a"), service("b")], 0.0, is_alone=False) for worker in workers]
        assert [each["b"].load.total(CONNECTIONS) for each in loads] == [2, 2]
        assert [each["a"].load.total(CONNECTIONS) for each in loads] == [0, 0]

    def test_what_a_removed_service_still_runs_troubles_nobody_else(self) -> None:
        workers = two_workers("a")
        removed = workers[0].apply([service("a")], 0.0, is_alone=False)["a"].load
        one = exchange()
        removed.enter(one)
        loads = [worker.apply([service("b")], 0.0, is_alone=False)["b"].load for worker in workers]
        assert loads[1].total(REQUESTS) == 0
        removed.leave(one)
        assert loads[1].total(REQUESTS) == 0

    def test_a_worker_that_is_alone_publishes_nothing_until_another_comes(self) -> None:
        counts = SharedCounts()
        counts.assign(0)
        alone = ClusterSet(random.Random(1), row=counts.row(0))
        load = alone.apply([service("a")], 0.0)["a"].load
        assert load.try_take(CONNECTIONS)
        counts.assign(1)
        second = ClusterSet(random.Random(1), row=counts.row(1))
        newcomer = second.apply([service("a")], 0.0, is_alone=False)["a"].load
        assert newcomer.total(CONNECTIONS) == 0
        alone.apply([service("a")], 0.0, is_alone=False)
        assert newcomer.total(CONNECTIONS) == 1

    def test_a_worker_that_died_blocks_nobody(self) -> None:
        counts = SharedCounts()
        loads = []
        for index in range(2):
            counts.assign(index)
            worker = ClusterSet(random.Random(1), row=counts.row(index))
            loads.append(worker.apply([service("a")], 0.0, is_alone=False)["a"].load)
        assert loads[1].try_take(RETRIES)
        assert not loads[0].try_take(RETRIES)
        counts.clear(1)
        assert loads[0].try_take(RETRIES)


class Fake:
    born = idle_since = 0.0
    requests = 1

    def __init__(self) -> None:
        self.closed = False

    def is_alive(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class TestPools:
    def test_open_connections_are_counted_and_given_back(self) -> None:
        load = Load("a", FEW)
        pool = PoolSet().get(KEY, PoolLimits(), load)
        assert pool.reserve()
        assert pool.reserve()
        assert not pool.reserve()
        pool.forfeit()
        assert load.total(CONNECTIONS) == 1
        pool.discard(Fake())
        assert load.total(CONNECTIONS) == 0

    def test_a_pool_that_another_service_draws_from_is_counted_there(self) -> None:
        first, second, pools = Load("a", FEW), Load("b", FEW), PoolSet()
        pool = pools.get(KEY, PoolLimits(), first)
        assert pool.reserve()
        pools.get(KEY, PoolLimits(), second)
        assert (first.total(CONNECTIONS), second.total(CONNECTIONS)) == (0, 1)

    async def test_waiters_beyond_the_threshold_are_refused(self) -> None:
        load = Load("a", FEW)
        pool = Pool(KEY, PoolLimits(connections=1))
        pool.count_with(load)
        assert pool.reserve()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.wait)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ProxyError, match="max_pending"):
                await pool.wait()
            nursery.cancel_scope.cancel()
        assert load.total(PENDING) == 0

    async def test_an_idle_connection_makes_room_for_who_waits_elsewhere(self) -> None:
        load = Load("a", FEW)
        idle, wanting = Pool(KEY, PoolLimits()), Pool(KEY, PoolLimits())
        connections = [Fake(), Fake()]
        for pool in (idle, wanting):
            pool.count_with(load)
        for each in connections:
            assert idle.reserve()
            idle.release(each, 0.0)
        assert not wanting.reserve()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wanting.wait)
            await trio.testing.wait_all_tasks_blocked()
            idle.sweep(0.0)
            wanting.sweep(0.0)
        assert all(each.closed for each in connections)
        assert (idle.open, wanting.open) == (0, 1)
