"""Vendors' windows as control keeps them: lent to several workers, and refusals that everybody is told of."""

from collections.abc import Callable

import pytest
import trio

from proxyd.control.leases import Leases
from proxyd.core.messages import SetLease, WantLease
from proxyd.core.service import BaseUrl, HostPattern, PriorityClass, Service
from proxyd.core.vendor import ACCOUNT_LIMIT, VendorLimits
from proxyd.store.memory import MemoryStore
from proxyd.telemetry.log import Log

Word = tuple[str, int, int, float, float, float, int]


def word(remaining: int, limit: int = 10) -> Word:
    return ("", remaining, limit, 60.0, 0.0, 0.0, remaining)


def service(name: str = "api", kind: PriorityClass = PriorityClass.NORMAL) -> Service:
    return Service(
        name,
        (HostPattern("api.test"),),
        BaseUrl("https", "api.test", 443),
        priority_class=kind,
        vendor_limits=VendorLimits(reserve=0.2),
    )


class Desk:
    """Leases, and what each worker was told."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.leases = Leases(Log("test"), "host")
        self.leases.configure([service(), service("urgent", PriorityClass.HIGH)])
        self.told: dict[str, list[SetLease]] = {}
        nursery.start_soon(self.leases.run)

    async def ask(
        self, worker: str, want: int = 0, *, seen: list[Word] | None = None, spent: int = 0, kept: int = 0,
        pause: float = 0.0, name: str = "api",
    ) -> SetLease:  # fmt: skip
        came = trio.Event()

        def reply(message: SetLease) -> None:
            self.told.setdefault(worker, []).append(message)
            came.set()

        told = [(spent, 0.0)] if spent else []
        self.leases.ask(WantLease(name, ACCOUNT_LIMIT, "key", want, kept, told, seen or [], 0, pause), worker, reply)
        with trio.fail_after(5):
            await came.wait()
        return self.told[worker][-1]


@pytest.fixture(params=["memory", "store"])
def desk(nursery: trio.Nursery, request: pytest.FixtureRequest) -> Desk:
    desk = Desk(nursery)
    if request.param == "store":
        desk.leases.store, desk.leases.is_fleet = MemoryStore(), True
    return desk


async def test_one_worker_goes_first_and_what_its_answer_tells_is_lent_to_all(desk: Desk) -> None:
    assert (await desk.ask("1", 5)).tokens == 1
    assert (await desk.ask("2", 5)).tokens == 0
    await desk.ask("1", seen=[word(9)], spent=1)
    tokens = [(await desk.ask(worker, 9)).tokens for worker in "3456"]
    assert sum(tokens) == 7, "a fifth of ten is left to the higher class"
    tokens = [(await desk.ask(worker, 9, name="urgent")).tokens for worker in "3456"]
    assert sum(tokens) == 2


async def test_an_answer_that_tells_nothing_makes_the_account_free(desk: Desk) -> None:
    await desk.ask("1", 1)
    answer = await desk.ask("1", 1, seen=[("", -1, 0, -1.0, 0.0, 0.0, -1)], spent=1)
    assert answer.is_free
    assert (await desk.ask("2", 1)).is_free


async def test_a_refusal_is_told_to_every_worker_that_asked(desk: Desk) -> None:
    await desk.ask("1", 1)
    await desk.ask("2", 1, seen=[word(9)])
    assert (await desk.ask("1", pause=9.0)).pause == pytest.approx(9.0, abs=1)
    assert desk.told["2"][-1].pause == pytest.approx(9.0, abs=1)
    assert (await desk.ask("2", 1)).tokens == 0


async def test_a_fleet_without_its_store_says_so(desk: Desk) -> None:
    desk.leases.store, desk.leases.is_fleet = None, True
    assert (await desk.ask("1", 1)).is_lost


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"seen": [word(1)] * 9},
        lambda: {"seen": [("n" * 49, 1, 1, 0.0, 0.0, 0.0, 1)]},
        lambda: {"seen": [("", 2**41, 1, 0.0, 0.0, 0.0, 1)]},
        lambda: {"seen": [("", 1, 1, float("nan"), 0.0, 0.0, 1)]},
        lambda: {"seen": [("", 1, 1, float("inf"), 0.0, 0.0, 1)]},
        lambda: {"seen": [("", 1, 1, 0.0, 0.0, 4000.0, 1)]},
        lambda: {"pause": -2.0},
        lambda: {"pause": float("nan")},
        lambda: {"silent": -1},
    ],
)
async def test_what_no_worker_says_ends_its_link(desk: Desk, change: Callable[[], dict[str, object]]) -> None:
    with pytest.raises(ValueError, match="WantLease"):
        desk.leases.ask(WantLease("api", ACCOUNT_LIMIT, "key", 1, 0, [], **change()), "1", lambda _: None)  # type: ignore[arg-type]
