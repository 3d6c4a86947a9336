"""What a worker spends from: leases that are asked for ahead, told, given back; what counts while nobody answers."""

from typing import Any

import pytest

from proxyd.core.limiting import Limit, OnLoss, Period
from proxyd.limiting.ledger import FORGET, IDLE, PATIENCE, REPORT, UNKNOWN, Ledger, Question, Reply

T = 100.0
"""When a test begins; trio's clock is far from 0, too."""

WINDOW = Limit("hour", window=1000, window_seconds=3600.0)
RATE = Limit("second", rate=10.0, burst=10)
QUOTA = Limit("month", quota=100, period=Period.MONTH)


class Control:
    """Notes what it is asked, and answers when told to."""

    def __init__(self, limit: Limit = RATE, workers: int = 2) -> None:
        self.asked: list[Question] = []
        self.arrived: list[str] = []
        self.ledger = Ledger(limit, workers, self.asked.append, self.arrived.append)

    def take(self, at: float, cost: int = 1, key: str = "") -> float:
        return self.ledger.try_take(key, cost, T + at)

    def tend(self, at: float) -> None:
        self.ledger.tend(T + at)

    def lend(self, tokens: int, now: float, key: str = "", **changes: Any) -> None:
        usual: dict[str, Any] = {"lifetime": 5.0, "wait": 0.0, "left": 50, "reset": 3.0, "members": 1, "is_lost": False}
        self.ledger.answer(Reply(key, tokens, **(usual | changes)), T + now)


def test_an_unknown_key_is_asked_for_once_and_what_comes_is_spent() -> None:
    control = Control()
    assert control.take(0.0, 1) == UNKNOWN
    assert control.take(0.001, 1) == UNKNOWN
    assert len(control.asked) == 1
    control.lend(3, 0.01)
    assert control.arrived == [""]
    assert [control.take(0.02, 1) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert control.take(0.02, 1) == UNKNOWN


def test_more_is_asked_for_before_the_lease_is_spent() -> None:
    control = Control()
    control.take(0.0, 1)
    control.lend(20, 0.01)
    for number in range(20):
        assert control.take(0.02 + number / 1000, 1) == 0.0
        if len(control.asked) == 2:
            break
    assert number < 18, "it asked while tokens were left"
    again = control.asked[1]
    assert again.kept == 20 - number - 1
    assert sum(tokens for tokens, _ in again.spent) == number + 1


def test_a_lease_that_is_over_is_not_spent() -> None:
    control = Control()
    control.take(0.0, 1)
    control.lend(10, 0.5, lifetime=2.0)
    assert control.take(1.9, 1) == 0.0
    assert control.take(2.0, 1) == UNKNOWN, "the time counts from the question, not from the answer"


def test_what_nobody_uses_goes_back() -> None:
    control = Control()
    control.take(0.0, 1)
    control.lend(5, 0.01)
    control.take(0.02, 1)
    control.tend(0.02 + IDLE + 0.01)
    last = control.asked[-1]
    assert (last.want, last.kept) == (0, 0)
    assert sum(tokens for tokens, _ in last.spent) == 1


def test_what_was_spent_is_told_soon() -> None:
    control = Control()
    control.take(0.0, 1)
    control.lend(50, 0.01)
    control.take(0.02, 2)
    control.tend(0.03)
    assert len(control.asked) == 1
    control.tend(0.02 + REPORT)
    last = control.asked[-1]
    assert (last.want, last.kept) == (0, 48)
    assert last.spent == [(2, pytest.approx(REPORT))]


def test_a_vendors_window_counts_when_the_attempt_is_over() -> None:
    control = Control(WINDOW)
    control.take(0.0, 1)
    control.lend(50, 0.01)
    control.take(0.02, 1)
    control.tend(0.2)
    assert len(control.asked) == 1, "nothing is spent yet"
    control.ledger.answered("", 1, T + 0.21)
    control.tend(0.21 + REPORT)
    last = control.asked[-1]
    assert [tokens for tokens, _ in last.spent] == [1]


def test_a_refused_request_costs_nothing() -> None:
    control = Control()
    control.take(0.0, 1)
    control.lend(3, 0.01)
    assert control.take(0.02) == 0.0
    control.ledger.give_back("", 1)
    assert control.take(0.03, 3) == 0.0


def test_where_nothing_is_left_the_wait_is_what_control_said() -> None:
    control = Control()
    control.take(0.0, 1)
    control.lend(0, 0.01, wait=7.0, left=0, reset=9.0)
    assert control.take(0.51, 1) == pytest.approx(6.5)
    assert control.ledger.left("", T + 0.5) == 0
    assert control.ledger.reset("", T + 1.01) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("on_loss", "limit", "taken"),
    [
        (OnLoss.OPEN, RATE, 100),
        (OnLoss.CLOSED, RATE, 0),
        (OnLoss.LOCAL, RATE, 1),  # 10 in all, of which 50 were left, by 2 workers of 3 members
        (OnLoss.LOCAL, QUOTA, 0),
    ],
)
def test_while_nobody_answers_the_policy_decides(on_loss: OnLoss, limit: Limit, taken: int) -> None:
    lossy = Limit(
        limit.name, rate=limit.rate, burst=limit.burst, quota=limit.quota, period=limit.period, on_loss=on_loss
    )
    control = Control(lossy)
    control.take(0.0, 1)
    control.lend(1, 0.01, members=3)
    assert control.take(0.02, 1) == 0.0
    control.take(0.03, 1)
    control.tend(0.03 + PATIENCE)
    got = sum(control.take(0.04 + PATIENCE, 1) == 0.0 for _ in range(100))
    assert got == taken


def test_a_store_that_is_away_is_lost_and_one_that_is_back_is_believed() -> None:
    control = Control(Limit("second", rate=10.0, burst=10, on_loss=OnLoss.CLOSED))
    control.take(0.0, 1)
    control.lend(0, 0.01, is_lost=True)
    assert control.take(0.02, 1) == PATIENCE
    control.lend(4, 0.5)
    assert control.take(0.51, 1) == 0.0


def test_a_new_control_is_asked_what_the_former_one_did_not_answer() -> None:
    control = Control(QUOTA)
    assert control.take(0.0, 1) == UNKNOWN
    control.tend(PATIENCE + 0.1)
    assert control.take(PATIENCE + 0.2, 1) > 0, "a quota is not spent alone"
    control.ledger.reconnect()
    assert control.take(PATIENCE + 0.3, 1) == UNKNOWN, "it is worth waiting again"
    control.lend(3, PATIENCE + 0.4)
    assert control.take(PATIENCE + 0.5, 1) == 0.0


def test_keys_that_nobody_uses_are_forgotten() -> None:
    control = Control()
    for key in ("a", "b"):
        control.take(0.0, 1, key)
        control.lend(1, 0.01, key)
        control.take(0.02, 1, key)
    assert len(control.ledger) == 2
    for key in ("a", "b"):
        control.tend(0.5)
        control.lend(0, 0.51, key)
    control.tend(0.6)
    control.tend(1.0 + FORGET)
    assert len(control.ledger) == 0


def test_a_worker_that_ends_gives_all_back() -> None:
    control = Control()
    control.take(0.0, 1)
    control.lend(9, 0.01)
    control.take(0.02, 1)
    control.ledger.surrender(T + 0.03)
    last = control.asked[-1]
    assert (last.want, last.kept, [tokens for tokens, _ in last.spent]) == (0, 0, [1])
