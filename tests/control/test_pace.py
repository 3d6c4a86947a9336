"""Background work in turn, by aiolimiter's public interface, on a clock that jumps."""

import pytest
import trio
import trio.testing

from proxyd.control.pace import Pace


async def test_a_burst_begins_at_once_and_the_rest_evenly(autojump_clock: object) -> None:
    pace = Pace(8.0, 4)  # exact in binary: a clock that jumps stands still between two roundings
    began: list[float] = []

    async def one() -> None:
        await pace.turn()
        began.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pace.run)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        async with trio.open_nursery() as workers:
            for _ in range(100):
                workers.start_soon(one)
        nursery.cancel_scope.cancel()
    spent = [moment - start for moment in began]
    assert sum(moment < 0.05 for moment in spent) == 4
    for until in (1, 3, 5, 9):
        assert sum(moment <= until for moment in spent) <= 4 + 8 * until + 1
    assert spent[-1] == pytest.approx(12.0, abs=0.2)


async def test_who_gives_up_takes_nobodys_turn_and_order_is_kept(autojump_clock: object) -> None:
    pace = Pace(1.0, 1)
    order: list[int] = []

    async def one(number: int) -> None:
        await pace.turn()
        order.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pace.run)
        await trio.testing.wait_all_tasks_blocked()
        await pace.turn()
        async with trio.open_nursery() as workers:
            for number in range(4):
                workers.start_soon(one, number)
                await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.01):
                await pace.turn()
        nursery.cancel_scope.cancel()
    assert order == [0, 1, 2, 3]
    assert "waiting=0" in repr(pace)


async def test_nobody_waits_where_nothing_runs_or_once_it_has_ended(autojump_clock: object) -> None:
    pace = Pace(0.001, 1)
    await pace.turn()
    await pace.turn()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(pace.run)
                await trio.testing.wait_all_tasks_blocked()
                await pace.turn()
                nursery.start_soon(pace.turn)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
