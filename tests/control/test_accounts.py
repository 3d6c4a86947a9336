"""Limits as control keeps them: lent, told, revised, in whichever store."""

import pytest
import trio

from proxyd.control.leases import LIFETIME, Leases
from proxyd.core.limiting import Limit, Period
from proxyd.core.messages import SetLease, WantLease
from proxyd.core.service import BaseUrl, HostPattern, Service
from proxyd.limiting.buckets import QuotaBucket
from proxyd.store.memory import MemoryStore
from proxyd.telemetry.log import Log

MONTH = Limit("month", quota=100, period=Period.MONTH, warn=(0.8,))
RATE = Limit("rate", rate=5.0, burst=5)


def service(*limits: Limit) -> Service:
    return Service("api", (HostPattern("api.test"),), BaseUrl("https", "api.test", 443), limits=limits)


class Desk:
    """Leases with a store in memory, and answers as they come."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.leases = Leases(Log("test"), "host")
        self.leases.store = MemoryStore()
        self.leases.configure([service(MONTH, RATE)])
        nursery.start_soon(self.leases.run)

    async def ask(self, want: int, spent: int = 0, kept: int = 0, limit: str = "month", worker: str = "1") -> SetLease:
        answers: list[SetLease] = []
        came = trio.Event()

        def reply(message: SetLease) -> None:
            answers.append(message)
            came.set()

        told = [(spent, 0.0)] if spent else []
        self.leases.ask(WantLease("api", limit, "", want, kept, told), worker, reply)
        with trio.fail_after(5):
            await came.wait()
        return answers[0]


@pytest.fixture
def desk(nursery: trio.Nursery) -> Desk:
    return Desk(nursery)


async def test_what_is_lent_to_one_worker_is_not_lent_to_another(desk: Desk) -> None:
    assert (await desk.ask(7)).tokens == 7
    answer = await desk.ask(99, worker="2")
    assert (answer.tokens, answer.left) == (11, 82)  # an eighth of what is left, at most
    assert answer.lifetime == LIFETIME
    assert (await desk.ask(0, spent=2, kept=0)).left == 87
    assert (await desk.ask(9, worker="2", kept=11)).tokens == 9


async def test_a_store_that_is_away_is_said_so(desk: Desk) -> None:
    desk.leases.store = None
    assert (await desk.ask(1)).is_lost
    assert desk.leases.failure
    assert not (await desk.ask(1, limit="rate")).is_lost  # a rate of one machine needs no store
    desk.leases.store = MemoryStore()
    assert (await desk.ask(1)).tokens == 1
    assert not desk.leases.failure


async def test_an_unknown_limit_gets_nothing(desk: Desk) -> None:
    assert (await desk.ask(1, limit="gone")).tokens == 0


async def test_questions_out_of_range_break_a_rule(desk: Desk) -> None:
    for broken in (
        WantLease("api", "month", "k" * 500, 1, 0, []),
        WantLease("api", "month", "", -1, 0, []),
        WantLease("api", "month", "", 1, -1, []),
        WantLease("api", "month", "", 1, 0, [(1, 0.0)] * 200),
    ):
        with pytest.raises(ValueError, match="WantLease"):
            desk.leases.ask(broken, "1", lambda _: None)


async def test_what_was_spent_while_nobody_could_be_asked_is_told_later(desk: Desk) -> None:
    await desk.ask(2)
    await desk.ask(0, spent=5)
    assert (await desk.leases.quotas())[0]["used"] == 5


async def test_a_store_that_was_emptied_does_not_begin_anew(desk: Desk) -> None:
    await desk.ask(0, spent=97)
    desk.leases.store = MemoryStore()
    answer = await desk.ask(10)
    assert answer.tokens + answer.left == 3


async def test_an_operator_revises_a_quota(desk: Desk) -> None:
    await desk.ask(3)
    await desk.ask(0, spent=3)

    def grant(bucket: QuotaBucket) -> None:
        bucket.extra += 5

    row = await desk.leases.revise("api", "month", "", grant)
    assert (row["used"], row["granted"], row["remaining"]) == (3, 5, 102)
    answer = await desk.ask(100)
    assert answer.tokens + answer.left == 102
    with pytest.raises(KeyError):
        await desk.leases.revise("api", "rate", "", grant)


async def test_a_share_of_a_quota_is_told_once(desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    for spent in (70, 15, 5):
        await desk.ask(0, spent=spent)
    shown = capfd.readouterr()
    assert (shown.out + shown.err).count("quota_warning") == 1
