import trio
import trio.testing

from proxyd.control.feed import Feed
from proxyd.sdk.testing import access, batch


async def test_batches_come_in_order_and_wake_who_waits(nursery):
    feed, taken = Feed(), []
    feed.attach(elsewhere=False)

    async def take():
        while True:
            while (one := feed.take()) is not None:
                taken.append(one)
            await feed.wait()

    nursery.start_soon(take)
    first, second, third = batch(access()), batch(access(), access()), batch(access())
    assert feed.put(first)
    assert feed.put(second)
    assert feed.waiting == 3
    await trio.testing.wait_all_tasks_blocked()
    assert feed.put(third)
    await trio.testing.wait_all_tasks_blocked()
    assert taken == [first, second, third]
    assert feed.waiting == 0


async def test_what_has_no_room_is_refused_until_there_is_some():
    feed = Feed(max_records=3)
    assert feed.put(batch(access(), access()))
    assert not feed.put(batch(access(), access()))
    assert feed.put(batch(access()))
    assert not feed.put(batch(access()))
    assert feed.waiting == 3
    assert len(feed.take()) == 2
    assert feed.put(batch(access(), access()))


async def test_the_size_of_texts_is_bounded_too():
    big = batch(access(path=b"/" + b"a" * 5000))
    feed = Feed(max_size=12_000)
    assert [feed.put(big) for _ in range(4)] == [True, True, False, False]


async def test_one_batch_that_is_over_every_bound_passes_where_nothing_waits():
    feed = Feed(max_records=1, max_size=1)
    assert feed.put(batch(access(), access()))
    assert not feed.put(batch(access()))


async def test_a_batch_wakes_another_loop():
    feed, taken, attached = Feed(), [], trio.Event()
    home = trio.lowlevel.current_trio_token()

    async def elsewhere():
        feed.attach(elsewhere=True)
        home.run_sync_soon(attached.set)
        while (one := feed.take()) is None:
            await feed.wait()
        taken.append(one)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, trio.run, elsewhere)
        await attached.wait()
        one = batch(access())
        feed.put(one)
    assert taken == [one]
    feed.ring()  # it has ended; nothing happens
