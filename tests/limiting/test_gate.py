"""A limit as requests meet it: at once, in a fair line, or 429; and several limits of which all or none are taken."""

import itertools
from typing import Any

import pytest
import trio
import trio.testing

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.limiting import CALLER, Cost, Limit, Mode
from proxyd.core.message import BytesBody, Request
from proxyd.core.service import Timeouts
from proxyd.limiting.allowances import LocalRate, Slots
from proxyd.limiting.gate import FIRST_ANSWER, Gate, Gates
from proxyd.limiting.ledger import UNKNOWN


class Route:
    def __init__(self, total: float = 0.0) -> None:
        self.timeouts = Timeouts(total=total)


class Silent:
    """An allowance whose control never answers."""

    def try_take(self, key: str, cost: int, now: float) -> float:
        return UNKNOWN

    def give_back(self, key: str, cost: int) -> None: ...

    def expect(self, key: str, tokens: int) -> None: ...

    def answered(self, key: str, cost: int, now: float) -> None: ...

    def left(self, key: str, now: float) -> int:
        return 0

    def reset(self, key: str, now: float) -> float:
        return 1.0


def asks(
    caller: str = "10.0.0.1", *, method: bytes = b"GET", path: bytes = b"/", body: bytes = b"", total: float = 0.0
) -> Exchange:
    request = Request(method, b"https", Authority("api.test", 443, is_ip=False), path, [], BytesBody(body))
    found = Exchange(Peer("apps", caller), None, request, trio.current_time(), "plain")  # type: ignore[arg-type]
    found.route = Route(total)  # type: ignore[assignment]
    return found


def rate(nursery: trio.Nursery, per_second: float, burst: int = 1, **changes: Any) -> Gate:
    limit = Limit("second", rate=per_second, burst=burst, **changes)
    return Gate("api", limit, LocalRate(per_second, 1 if limit.mode is Mode.PACE else burst), nursery.start_soon)


async def go(gate: Gate | Gates, exchange: Exchange) -> float:
    """Take, and return how long it took."""
    began = trio.current_time()
    waits = gate.take(exchange, began)
    if waits is not None:
        await waits
    return trio.current_time() - began


async def test_beyond_a_rate_the_refusal_says_when_and_how_much(autojump_clock: Any, nursery: trio.Nursery) -> None:
    gate = rate(nursery, 0.5, 2)
    assert [await go(gate, asks()), await go(gate, asks())] == [0.0, 0.0]
    with pytest.raises(ProxyError) as caught:
        gate.take(asks(), trio.current_time())
    error = caught.value
    assert error.status == 429
    assert dict(error.headers) == {
        b"retry-after": b"2",
        b"ratelimit-policy": b'"second";q=2;w=4',
        b"ratelimit": b'"second";r=0;t=4',
    }
    assert "second of api" in error.detail
    assert gate.refused == 1


async def test_in_a_queue_each_waits_for_its_token(autojump_clock: Any, nursery: trio.Nursery) -> None:
    gate = rate(nursery, 2.0, 1, mode=Mode.QUEUE)
    waits: list[float] = []

    async def one() -> None:
        waits.append(await go(gate, asks()))

    async with trio.open_nursery() as crowd:
        for _ in range(5):
            crowd.start_soon(one)
    assert sorted(waits) == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    assert (gate.waiting, gate.waited) == (0, 4)


async def test_pace_lets_out_one_after_the_other_where_a_burst_would_be_free(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    gate = rate(nursery, 10.0, 10, mode=Mode.PACE)
    times: list[float] = []

    async def one() -> None:
        await go(gate, asks())
        times.append(trio.current_time())

    async with trio.open_nursery() as crowd:
        for _ in range(6):
            crowd.start_soon(one)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([0.1] * 5)


async def test_a_caller_with_one_request_does_not_wait_for_another_ones_hundred(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    gate = rate(nursery, 1.0, 1, mode=Mode.QUEUE, max_wait=1000.0)
    order: list[str] = []

    async def one(caller: str) -> None:
        await go(gate, asks(caller))
        order.append(caller)

    async with trio.open_nursery() as crowd:
        for _ in range(20):
            crowd.start_soon(one, "10.0.0.1")
        await trio.testing.wait_all_tasks_blocked()
        crowd.start_soon(one, "10.0.0.2")
    assert order.index("10.0.0.2") <= 2


async def test_a_wait_that_cannot_end_in_time_is_refused_at_once(autojump_clock: Any, nursery: trio.Nursery) -> None:
    gate = rate(nursery, 0.1, 1, mode=Mode.QUEUE, max_wait=5.0)
    await go(gate, asks())
    with pytest.raises(ProxyError):
        gate.take(asks(), trio.current_time())


async def test_a_full_line_refuses(autojump_clock: Any, nursery: trio.Nursery) -> None:
    gate = rate(nursery, 1.0, 1, mode=Mode.QUEUE, max_waiting=2)
    await go(gate, asks())
    async with trio.open_nursery() as crowd:
        for _ in range(2):
            crowd.start_soon(go, gate, asks())
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ProxyError):
            gate.take(asks(), trio.current_time())


async def test_the_wait_counts_in_the_total(autojump_clock: Any, nursery: trio.Nursery) -> None:
    gate = rate(nursery, 0.2, 1, mode=Mode.QUEUE)
    await go(gate, asks())
    began = trio.current_time()
    with pytest.raises(ProxyError) as caught:
        await go(gate, asks(total=2.0))
    assert caught.value.status == 429
    assert trio.current_time() - began == pytest.approx(2.0)
    assert gate.waiting == 0


async def test_who_leaves_the_line_takes_nothing(autojump_clock: Any, nursery: trio.Nursery) -> None:
    gate = rate(nursery, 1.0, 1, mode=Mode.QUEUE)
    await go(gate, asks())
    with trio.move_on_after(0.5):
        await go(gate, asks())
    assert gate.waiting == 0
    assert await go(gate, asks()) == pytest.approx(0.5)


async def test_a_limit_that_rejects_waits_for_the_first_word_and_no_longer(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    gate = Gate("api", Limit("month", quota=10), Silent(), nursery.start_soon)
    began = trio.current_time()
    with pytest.raises(ProxyError):
        await go(gate, asks())
    assert trio.current_time() - began == pytest.approx(FIRST_ANSWER)


async def test_so_many_at_a_time_and_the_next_when_one_ends(autojump_clock: Any, nursery: trio.Nursery) -> None:
    limit = Limit("few", concurrency=2, mode=Mode.QUEUE)
    gate = Gate("api", limit, Slots(2), nursery.start_soon)
    held = [asks(), asks()]
    for exchange in held:
        await go(gate, exchange)
    third = asks()
    async with trio.open_nursery() as crowd:
        crowd.start_soon(go, gate, third)
        await trio.testing.wait_all_tasks_blocked()
        assert not third.permits
        for one, key in held[0].permits:
            one.release(key)
    assert len(third.permits) == 1


async def test_costs_are_by_the_first_that_fits(nursery: trio.Nursery) -> None:
    costs = (Cost(methods=("POST",), path="/export", tokens=10), Cost(per_bytes=100, tokens=1))
    gate = rate(nursery, 1.0, 100, costs=costs)
    assert gate.cost(asks(method=b"POST", path=b"/export/a").request) == 10
    assert gate.cost(asks(method=b"POST", path=b"/other", body=bytes(250)).request) == 3
    assert gate.cost(asks().request) == 1


async def test_callers_are_counted_apart(nursery: trio.Nursery) -> None:
    gate = rate(nursery, 0.01, 1, scope=(CALLER,))
    await go(gate, asks("10.0.0.1"))
    await go(gate, asks("10.0.0.2"))
    with pytest.raises(ProxyError):
        gate.take(asks("10.0.0.1"), trio.current_time())
    proven = asks("10.0.0.1")
    proven.peer.user = "ann"
    await go(gate, proven)
    assert gate.key(proven) == "user:ann"


async def test_of_several_limits_all_are_taken_or_none(nursery: trio.Nursery) -> None:
    wide, narrow = rate(nursery, 0.01, 3), rate(nursery, 0.01, 1)
    gates = Gates([wide, narrow])
    await go(gates, asks())
    for _ in range(5):
        with pytest.raises(ProxyError):
            gates.take(asks(), trio.current_time())
    now = trio.current_time()
    assert wide.allowance.left("", now) == 2, "what the narrow one refused cost the wide one nothing"
    assert not gates.try_take(asks(), now)
    assert wide.allowance.left("", now) == 2
