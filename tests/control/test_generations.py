"""Generations as control sees them: what is passed on, what is taken in, and who has the admin addresses."""

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from proxyd.control.generations import RELAY_SECONDS, SERIES_PER_FRAME, Generations, Growth
from proxyd.control.supervisor import SupervisorLink
from proxyd.core import metrics
from proxyd.core.messages import Generations as GenerationsMessage
from proxyd.core.messages import Predecessor, Promote, Promoted, Retire, Stats
from proxyd.net.frames import FrameLink
from proxyd.telemetry.aggregate import Aggregate
from proxyd.wire import ipc

CONNECTIONS = metrics.DOWNSTREAM_CONNECTIONS.name
ACTIVE = metrics.DOWNSTREAM_ACTIVE.name
HISTOGRAM = next(metric for metric in metrics.METRICS.values() if metric.kind is metrics.Kind.HISTOGRAM)


def counted(count, listener="apps"):
    return Stats([[CONNECTIONS, [listener], count]], [], [])


def observed(bucket, seconds):
    buckets = [0] * (len(HISTOGRAM.buckets) + 1)
    buckets[bucket] = 1
    return Stats([], [], [[HISTOGRAM.name, ["x"] * len(HISTOGRAM.labels), buckets, seconds]])


def total(aggregate, name=CONNECTIONS):
    return sum(sum(series.values()) for metric, series in aggregate.counters() if metric.name == name)


def active(aggregate):
    workers = next(workers for metric, workers in aggregate.gauges() if metric.name == ACTIVE)
    return {worker: sum(series.values()) for worker, series in workers.items() if series}


class FakeAdmin:
    def __init__(self):
        self.did = []

    def promote(self):
        self.did.append("promote")

    def retire(self):
        self.did.append("retire")


class Side:
    """One control's generations, and the supervisor's end of its link."""

    def __init__(self, nursery):
        ours, theirs = socket.socketpair()
        self.supervisor = FrameLink(theirs, ipc.MAX_UP)
        self.aggregate = Aggregate()
        self.retired = []
        self.link = SupervisorLink(FrameLink(ours, ipc.MAX_DOWN), lambda *_: None)
        self.generations = Generations(self.link, self.aggregate, lambda: self.retired.append(True))
        self.generations.nursery = nursery
        self.generations.admin = FakeAdmin()

    def close(self):
        self.supervisor.close()


@pytest.fixture
async def sides(nursery):
    made = [Side(nursery), Side(nursery)]
    yield made
    nursery.cancel_scope.cancel()
    for side in made:
        side.close()


def join(old, new, generation=1):
    """Do what the supervisor does after an upgrade."""
    ours, theirs = socket.socketpair()
    old.generations.handle(Retire(), [theirs.detach()])
    new.generations.handle(Predecessor(generation), [ours.detach()])


async def test_sums_of_the_former_generation_go_on_in_the_new_one(sides, autojump_clock):
    old, new = sides
    old.aggregate.add(0, counted(5))
    old.aggregate.add(0, observed(0, 0.25))
    new.aggregate.add(0, counted(1))
    join(old, new)
    await wait_all_tasks_blocked(0.01)
    assert total(new.aggregate) == 6
    old.aggregate.add(1, counted(2))
    old.aggregate.add(1, observed(1, 0.5))
    await trio.sleep(RELAY_SECONDS * 2)
    assert total(new.aggregate) == 8
    (histogram,) = next(series for metric, series in new.aggregate.histograms() if metric is HISTOGRAM).values()
    assert (histogram.buckets[:2], histogram.sum) == ([1, 1], 0.75)


async def test_connections_of_a_former_generation_count_until_its_control_is_gone(sides, autojump_clock):
    old, new = sides
    for worker in (0, 1):
        old.aggregate.add(worker, Stats([], [[ACTIVE, [], 3]], []))
    old.aggregate.add(-1, Stats([], [[ACTIVE, [], 100]], []))  # of its own predecessor, who has a link of its own
    join(old, new, generation=2)
    await trio.sleep(RELAY_SECONDS)
    assert active(new.aggregate) == {-2: 6}
    old.generations._successor.close()
    await trio.sleep(RELAY_SECONDS)
    assert active(new.aggregate) == {}


async def test_a_second_successor_gets_what_the_first_did_not(sides, nursery, autojump_clock):
    old, new = sides
    newest = Side(nursery)
    old.aggregate.add(0, counted(5))
    join(old, new)
    await trio.sleep(RELAY_SECONDS)
    old.aggregate.add(0, counted(2))
    join(old, newest)
    await trio.sleep(RELAY_SECONDS)
    assert (total(new.aggregate), total(newest.aggregate)) == (5, 2)
    assert old.retired == [True]
    newest.close()


async def test_the_last_numbers_go_before_control_ends(sides, autojump_clock):
    old, new = sides
    join(old, new)
    await wait_all_tasks_blocked(0.01)
    old.aggregate.add(0, counted(9))
    await old.generations.flush()
    await wait_all_tasks_blocked(0.01)
    assert total(new.aggregate) == 9


async def test_without_a_successor_there_is_nothing_to_flush(sides):
    await sides[0].generations.flush()


async def test_the_admin_addresses_change_hands(sides):
    old, new = sides
    new.generations.handle(Promote(), [])
    assert new.generations.admin.did == ["promote"]
    assert ipc.decode(await new.supervisor.receive(), ipc.CONTROL_TO_SUPERVISOR) == Promoted()
    join(old, new)
    assert old.generations.admin.did == ["retire"]


async def test_generations_are_remembered(sides):
    sides[0].generations.handle(GenerationsMessage(3, [(1, 2), (2, 1)]), [])
    assert (sides[0].generations.number, sides[0].generations.draining) == (3, [(1, 2), (2, 1)])


async def test_a_predecessor_that_breaks_the_rules_is_heard_no_more(sides, autojump_clock):
    new = sides[1]
    ours, theirs = socket.socketpair()
    link = FrameLink(theirs, ipc.MAX_UP)
    new.generations.handle(Predecessor(1), [ours.detach()])
    await link.send(ipc.encode(Promoted()))
    await wait_all_tasks_blocked(0.01)
    assert theirs.recv(1) == b""
    link.close()


def test_many_series_take_several_frames():
    aggregate = Aggregate()
    for index in range(SERIES_PER_FRAME + 1):
        aggregate.add(0, counted(1, f"listener-{index}"))
    growth = Growth(aggregate)
    first, second = growth.frames()
    assert (len(first.counters), len(second.counters)) == (SERIES_PER_FRAME, 1)
    growth.told(first)
    assert growth.frames() == [second], "what has not gone is told again"
    growth.told(second)
    assert [len(frame.counters) for frame in growth.frames()] == [0]
