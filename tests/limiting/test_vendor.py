"""The gate before an attempt: who waits, who goes first, and what an answer changes."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from proxyd.core.authority import Authority
from proxyd.core.errors import ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request, Response
from proxyd.core.service import PriorityClass, Timeouts
from proxyd.core.vendor import AtLimit, VendorLimits
from proxyd.limiting.accounts import Accounts, OwnEstimate, VendorLedger
from proxyd.limiting.ledger import Question, Reply
from proxyd.limiting.vendor import VendorGate, pseudo_limit, reserve


class Credential:
    """Stands for a compiled scheme."""

    secret_names = ("vendor/key",)


class Route:
    timeouts = Timeouts()


class Bench:
    """Gates of one worker that is alone."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.accounts = Accounts()
        self.nursery = nursery
        self.gates: list[VendorGate] = []
        self.serial = 0

    def gate(self, kind: PriorityClass = PriorityClass.NORMAL, **policy: Any) -> VendorGate:
        limits = VendorLimits(**policy)
        allowance = OwnEstimate(self.accounts, reserve(kind, limits))
        gate = VendorGate(kind.value, kind, limits, allowance, self.accounts, self.nursery.start_soon)
        self.gates.append(gate)
        self.accounts.enlist(self.gates)
        return gate

    def exchange(self, path: bytes = b"/", caller: str = "10.0.0.1", *, own: bool = False) -> Exchange:
        request = Request(b"GET", b"https", Authority("api.test", 443, is_ip=False), path, [], BytesBody())
        found = Exchange(Peer("apps", caller), None, request, trio.current_time(), "plain")  # type: ignore[arg-type]
        self.serial += 1
        found.id = str(self.serial)
        found.route = Route()  # type: ignore[assignment]
        found.credential = None if own else Credential()  # type: ignore[assignment]
        return found


def answer(remaining: int | None, *, status: int = 200, reset: int = 60, **fields: str) -> Response:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    if remaining is not None:
        headers += [(b"x-ratelimit-remaining", b"%d" % remaining), (b"x-ratelimit-reset", b"%d" % reset)]
        headers.append((b"x-ratelimit-limit", b"10"))
    return Response(status, headers, BytesBody())


async def attempt(gate: VendorGate, exchange: Exchange, response: Response | None) -> None:
    """Go through one attempt."""
    waits = gate.take(exchange, trio.current_time())
    if waits is not None:
        await waits
    exchange.attempts += 1
    if response is not None:
        gate.heard(exchange, response, trio.current_time())
    gate.answered(exchange, trio.current_time())


@pytest.fixture
def bench(nursery: trio.Nursery) -> Bench:
    return Bench(nursery)


async def test_nobody_waits_while_there_is_something_left(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate = bench.gate()
    for left in (9, 8, 7):
        await attempt(gate, bench.exchange(), answer(left))
    assert trio.current_time() == pytest.approx(0.0, abs=0.1)
    assert gate.waited == 0


async def test_who_finds_nothing_waits_until_the_reset_and_has_the_flag(
    bench: Bench, autojump_clock: trio.abc.Clock
) -> None:
    gate, late = bench.gate(), bench.exchange()
    await attempt(gate, bench.exchange(), answer(0, reset=20))
    began = trio.current_time()
    await attempt(gate, late, answer(9))
    assert 20 <= trio.current_time() - began <= 22
    assert late.flags == "VL"


async def test_a_reset_that_is_too_far_away_is_a_429_at_once(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate = bench.gate(max_wait=5.0)
    await attempt(gate, bench.exchange(), answer(0, reset=20))
    with pytest.raises(ProxyError) as caught:
        gate.take(bench.exchange(), trio.current_time())
    assert caught.value.status == 429
    assert caught.value.headers is not None
    assert int(dict(caught.value.headers)[b"retry-after"]) in (21, 22)
    assert gate.waiting == 0


async def test_in_mode_reject_one_request_may_learn_what_is_left(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate = bench.gate(mode=AtLimit.REJECT)
    first, second = bench.exchange(), bench.exchange()
    assert gate.take(first, trio.current_time()) is None
    waits = gate.take(second, trio.current_time())
    assert waits is not None, "it waits for the first word"
    gate.heard(first, answer(9), trio.current_time())
    gate.answered(first, trio.current_time())
    await waits
    gate.heard(second, answer(0), trio.current_time())
    gate.answered(second, trio.current_time())
    with pytest.raises(ProxyError):
        gate.take(bench.exchange(), trio.current_time())


async def test_an_answer_that_tells_nothing_lets_everybody_go(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate = bench.gate()
    await attempt(gate, bench.exchange(), answer(None))
    others = [bench.exchange() for _ in range(100)]
    assert [gate.take(one, trio.current_time()) for one in others] == [None] * 100
    gate.heard(others[0], answer(3), trio.current_time())
    for one in others:
        gate.answered(one, trio.current_time())
    assert gate.take(bench.exchange(), trio.current_time()) is None
    assert gate.rows(trio.current_time())[0]["remaining"] <= 3


async def test_an_application_with_its_own_credential_is_counted_by_caller(
    bench: Bench, autojump_clock: trio.abc.Clock
) -> None:
    gate = bench.gate(max_wait=1.0)
    await attempt(gate, bench.exchange(own=True), answer(0))
    with pytest.raises(ProxyError):
        gate.take(bench.exchange(own=True), trio.current_time())
    assert gate.take(bench.exchange(own=True, caller="10.0.0.2"), trio.current_time()) is None
    assert gate.take(bench.exchange(), trio.current_time()) is None


async def test_budgets_that_answers_name_are_told_apart_by_path(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate = bench.gate(max_wait=1.0)
    await attempt(gate, bench.exchange(b"/repos/a/b"), answer(9, x_ratelimit_resource="core"))
    await attempt(gate, bench.exchange(b"/search/code?q=1"), answer(0, x_ratelimit_resource="search"))
    with pytest.raises(ProxyError):
        gate.take(bench.exchange(b"/search/code?q=2"), trio.current_time())
    await attempt(gate, bench.exchange(b"/users/x"), answer(8, x_ratelimit_resource="core"))
    assert [row["account"] for row in gate.rows(0.0)] == ["vendor/key core", "vendor/key search"]


async def test_a_refusal_makes_everybody_wait_and_then_one_goes_first(
    bench: Bench, autojump_clock: trio.abc.Clock
) -> None:
    gate = bench.gate()
    await attempt(gate, bench.exchange(), answer(9))
    refused = bench.exchange()
    gate.take(refused, trio.current_time())
    gate.heard(refused, answer(9, status=403, retry_after="7"), trio.current_time())
    gate.answered(refused, trio.current_time())
    assert gate.refusals == 1
    began = trio.current_time()
    await attempt(gate, bench.exchange(), answer(8))
    assert trio.current_time() - began >= 7


async def test_an_attempt_without_an_answer_counts(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate = bench.gate(max_wait=1.0)
    await attempt(gate, bench.exchange(), answer(1))
    await attempt(gate, bench.exchange(), None)
    with pytest.raises(ProxyError):
        gate.take(bench.exchange(), trio.current_time())


async def test_an_attempt_that_was_never_made_does_not_count(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate, stopped = bench.gate(max_wait=1.0), bench.exchange()
    await attempt(gate, bench.exchange(), answer(1))
    gate.take(stopped, trio.current_time())
    gate.answered(stopped, trio.current_time())  # the breaker was open
    assert gate.take(bench.exchange(), trio.current_time()) is None


async def test_two_attempts_beside_each_other_count_as_two(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    gate, hedged = bench.gate(max_wait=1.0), bench.exchange()
    await attempt(gate, bench.exchange(), answer(3))
    assert gate.take(hedged, trio.current_time()) is None
    assert gate.try_take(hedged, trio.current_time())
    hedged.attempts = 2
    gate.heard(hedged, answer(2), trio.current_time())
    gate.answered(hedged, trio.current_time())
    gate.answered(hedged, trio.current_time())  # the other one was cancelled
    assert gate.take(bench.exchange(), trio.current_time()) is None
    with pytest.raises(ProxyError):
        await attempt(gate, bench.exchange(), answer(0))


async def test_a_higher_class_that_waits_goes_first(
    bench: Bench, nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    low, high = bench.gate(PriorityClass.LOW), bench.gate(PriorityClass.HIGH)
    await attempt(low, bench.exchange(), answer(0, reset=5))
    order: list[str] = []
    words = [1, 0, 9, 8]  # there is one more after the first, and then none

    async def ask(gate: VendorGate) -> None:
        exchange = bench.exchange()
        waits = gate.take(exchange, trio.current_time())
        assert waits is not None
        await waits
        order.append(gate.service)
        gate.heard(exchange, answer(words.pop(0), reset=5), trio.current_time())
        gate.answered(exchange, trio.current_time())

    for _ in range(2):
        nursery.start_soon(ask, low)
    await trio.sleep(0.5)
    for _ in range(2):
        nursery.start_soon(ask, high)
    await trio.sleep(60)
    assert order == ["high", "high", "low", "low"]


class Control:
    """Gates of a worker that shares an account, and what it asks of control."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.asked: list[tuple[Question, tuple[Any, int, float]]] = []
        accounts = Accounts()
        policy = VendorLimits()

        def ask(question: Question) -> None:
            self.asked.append((question, self.gate.news(question.key, trio.current_time())))

        self.ledger = VendorLedger(pseudo_limit(policy), 2, ask, accounts.notice, 0.0)
        self.gate = VendorGate("api", PriorityClass.NORMAL, policy, self.ledger, accounts, nursery.start_soon)
        accounts.enlist([self.gate])

    def reply(self, tokens: int, *, wait: float = 0.05, is_lost: bool = False) -> None:
        key = self.asked[-1][0].key
        self.ledger.answer(Reply(key, tokens, 5.0, wait, 0, 60.0, 1, is_lost), trio.current_time())


async def test_several_workers_spend_what_control_lends_and_tell_it_what_answers_told(
    bench: Bench, nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    control = Control(nursery)
    first = bench.exchange()
    waits = control.gate.take(first, trio.current_time())
    assert waits is not None
    async with trio.open_nursery() as inner:
        inner.start_soon(_wait, waits)
        await trio.testing.wait_all_tasks_blocked()
        control.reply(1)
    control.gate.heard(first, answer(9), trio.current_time())
    control.gate.answered(first, trio.current_time())
    await trio.sleep(0.2)
    control.ledger.tend(trio.current_time())
    question, (seen, silent, pause) = control.asked[-1]
    assert [(one.remaining, one.limit) for one in seen] == [(9, 10)]
    assert (sum(tokens for tokens, _ in question.spent), silent, pause) == (1, 0, 0.0)


async def test_what_control_says_of_a_refusal_elsewhere_stops_what_is_lent_here(
    bench: Bench, nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    control = Control(nursery)
    control.gate.take(bench.exchange(), trio.current_time())
    control.reply(5)
    assert control.gate.try_take(bench.exchange(), trio.current_time())
    key = control.asked[-1][0].key
    control.gate.pause(key, 9.0, trio.current_time())
    assert not control.gate.try_take(bench.exchange(), trio.current_time())


async def test_without_control_a_worker_keeps_to_its_part_of_what_it_knows(
    bench: Bench, nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    control = Control(nursery)
    control.gate.take(bench.exchange(), trio.current_time())
    control.reply(0, is_lost=True)
    taken = _take_all(control.gate, bench.exchange)
    assert taken == 1, "one goes first here, too"


def _take_all(gate: VendorGate, exchange: Callable[[], Exchange]) -> int:
    taken = 0
    while gate.try_take(exchange(), trio.current_time()):
        taken += 1
    return taken


async def _wait(waits: Any) -> None:
    await waits
