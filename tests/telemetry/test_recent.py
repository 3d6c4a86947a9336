import math

import pytest

from proxyd.core.events import NOTICE
from proxyd.core.records import Batch
from proxyd.telemetry.exchanges import Filter
from proxyd.telemetry.recent import BUFFER_BYTES, KINDS, SUBSCRIBERS, Recent, TooManySubscribers
from tests.telemetry.records import access, batch


def ids(found):
    return [exchange["id"] for exchange in found]


async def test_the_latest_are_returned_oldest_first():
    recent = Recent()
    recent.take(batch(*(access(id=str(n)) for n in range(3))))
    recent.take(batch(*(access(id=str(n)) for n in range(3, 5))))
    assert ids(await recent.find(Filter(), 100)) == ["0", "1", "2", "3", "4"]
    assert ids(await recent.find(Filter(), 2)) == ["3", "4"]


async def test_no_more_than_size_are_kept_and_told():
    recent = Recent(size=5)
    for start in range(0, 30, 3):
        recent.take(batch(*(access(id=str(n)) for n in range(start, start + 3))))
    assert recent.count == 5
    assert ids(await recent.find(Filter(), 100)) == ["25", "26", "27", "28", "29"]
    recent.resize(2)
    assert ids(await recent.find(Filter(), 100)) == ["28", "29"]
    recent.resize(0)
    assert (recent.count, recent.bytes, await recent.find(Filter(), 100)) == (0, 0, [])


async def test_no_more_bytes_are_kept_than_allowed():
    recent = Recent(kept_bytes=20_000)
    for n in range(100):
        recent.take(batch(access(id=str(n), path=b"/" + b"x" * 2000)))
    assert recent.bytes <= 20_000
    assert ids(await recent.find(Filter(), 1)) == ["99"]
    assert 5 < recent.count < 10


async def test_a_subscriber_gets_what_it_asked_for_until_it_closes():
    recent = Recent()
    subscription = recent.subscribe(Filter(service="tickets"), KINDS)
    recent.take(batch(access(id="a"), access(id="b", service=None), [NOTICE, 1.0, "warning", "w", "detail"], worker=3))
    items, dropped = await subscription.take()
    assert [(kind, item.get("id"), item.get("name")) for kind, item in items] == [
        ("exchange", "a", None),
        ("notice", None, "w"),
    ]
    assert items[1][1]["process"] == "worker-3"
    assert dropped == 0
    subscription.close()
    assert recent.subscribers == 0
    assert await subscription.take() == ([], 0)


async def test_what_does_not_fit_a_buffer_is_dropped_and_told():
    recent = Recent()
    slow, quick = recent.subscribe(buffer=2), recent.subscribe()
    recent.take(batch(*(access(id=str(n)) for n in range(5))))
    assert len((await quick.take())[0]) == 5
    items, dropped = await slow.take()
    assert (ids(item for _, item in items), dropped) == (["0", "1"], 3)
    recent.take(batch(access(id="5")))
    items, dropped = await slow.take()
    assert (ids(item for _, item in items), dropped) == (["5"], 0)


async def test_a_buffer_is_bounded_in_bytes_too():
    recent = Recent()
    subscription = recent.subscribe(buffer=8192)
    record = access(path=b"/" + b"x" * 4000)
    for _ in range(40):
        recent.take(batch(*([record] * 50)))
    items, dropped = await subscription.take()
    assert len(items) <= BUFFER_BYTES / 6000
    assert len(items) + dropped == 2000


def test_places_of_subscribers_are_bounded():
    recent = Recent()
    held = [recent.subscribe() for _ in range(SUBSCRIBERS)]
    with pytest.raises(TooManySubscribers):
        recent.subscribe()
    held[0].close()
    held[0].close()
    recent.subscribe()


def test_exchanges_are_passed_on_even_if_none_are_kept():
    recent = Recent(size=0)
    subscription = recent.subscribe()
    recent.take(batch(access()))
    assert recent.count == 0
    assert repr(subscription) == "<Subscription exchange waiting=1 dropped=0>"


def test_an_empty_batch_costs_nothing():
    recent = Recent()
    recent.take(Batch())
    assert repr(recent) == f"<Recent 0 of {recent.size} bytes=0 subscribers=0>"
    assert math.isfinite(recent.size)
