import pytest
import trio
import trio.testing

from proxyd.control.jobs import MAX_WAITING, Jobs, Outcome


class Change:
    """A change that ends when it is told to."""

    def __init__(self):
        self.go = trio.Event()
        self.made = 0

    async def __call__(self):
        await self.go.wait()
        self.made += 1
        return Outcome(True, self.made)


@pytest.fixture
def jobs(nursery):
    jobs = Jobs()
    nursery.start_soon(jobs.run)
    return jobs


async def test_changes_are_made_one_after_the_other(jobs, nursery):
    change = Change()
    nursery.start_soon(jobs.do, change)
    nursery.start_soon(jobs.do, change)
    await trio.testing.wait_all_tasks_blocked()
    assert change.made == 0
    change.go.set()
    assert await jobs.do(change) == Outcome(True, 3)
    nursery.cancel_scope.cancel()


async def test_a_caller_who_gives_up_does_not_stop_it(jobs, nursery, autojump_clock):
    change = Change()
    with trio.move_on_after(1):
        await jobs.do(change)
    change.go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert change.made == 1
    nursery.cancel_scope.cancel()


async def test_no_more_wait_than_there_is_room_for(jobs, nursery):
    change = Change()
    assert jobs.post(change) is not None
    await trio.testing.wait_all_tasks_blocked()
    assert all(jobs.post(change) for _ in range(MAX_WAITING))
    assert jobs.post(change) is None
    assert await jobs.do(change) is None
    nursery.cancel_scope.cancel()
