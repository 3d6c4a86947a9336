import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.resilience import BreakerPolicy
from proxyd.upstream.breaker import Breaker, State

POLICY = BreakerPolicy(consecutive_failures=3, error_rate=0.5, volume=10, window=10.0, open_for=2.0, probes=1)


def opened(at=0.0, policy=POLICY):
    breaker = Breaker(policy)
    for _ in range(policy.consecutive_failures):
        assert breaker.admit(at)
        breaker.failure(at)
    assert breaker.state is State.OPEN
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_does_not():
    breaker = Breaker(POLICY)
    for went_well in (False, False, True, False, False):
        breaker.admit(0.0)
        breaker.success() if went_well else breaker.failure(0.0)
    assert breaker.state is State.CLOSED
    breaker.failure(0.0)
    assert breaker.state is State.OPEN


def test_the_rate_over_the_window_opens_it_once_there_is_volume():
    breaker = Breaker(POLICY)
    for number in range(9):
        breaker.failure(1.0) if number % 2 else breaker.success()
    assert breaker.state is State.CLOSED
    breaker.failure(1.0)
    assert breaker.state is State.OPEN


def test_what_is_older_than_the_window_does_not_count():
    breaker = Breaker(POLICY)
    for number in range(9):
        breaker.failure(1.0) if number % 2 else breaker.success()
    breaker.failure(12.0)
    assert breaker.state is State.CLOSED


def test_open_lets_nothing_through_until_its_time_is_over():
    breaker = opened(at=5.0)
    assert not breaker.admit(6.9)
    assert breaker.retry_after(6.0) == 1.0
    assert breaker.admit(7.0)
    assert breaker.state is State.HALF_OPEN


def test_half_open_lets_as_many_probes_through_as_it_may():
    breaker = opened()
    assert breaker.admit(2.0)
    assert not breaker.admit(2.0)
    breaker.withdraw()
    assert breaker.admit(2.0), "a probe that said nothing gives its place back"


def test_a_probe_that_fails_opens_it_again_and_one_that_succeeds_closes_it():
    breaker = opened()
    breaker.admit(2.0)
    breaker.failure(2.5)
    assert breaker.state is State.OPEN
    assert not breaker.admit(4.4)
    assert breaker.admit(4.5)
    breaker.success()
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(("forced", "admits"), [(State.OPEN, False), (State.CLOSED, True)])
def test_an_operator_can_hold_it(forced, admits):
    breaker = opened() if admits else Breaker(POLICY)
    breaker.forced = forced
    assert breaker.admit(0.1) is admits
    assert breaker.is_ready(0.1) is admits


STEPS = st.lists(st.tuples(st.sampled_from(["admit", "success", "failure", "withdraw"]), st.floats(0, 3)), max_size=80)


@given(STEPS)
def test_whatever_happens_probes_stay_bounded_and_waiting_leads_out_of_open(steps):
    breaker = Breaker(POLICY)
    now, running = 0.0, 0
    for step, wait in steps:
        now += wait
        if step == "admit":
            running += breaker.admit(now)
        elif running:
            running -= 1
            if step == "failure":
                breaker.failure(now)
            else:
                getattr(breaker, step)()
        if breaker.state is State.HALF_OPEN:
            assert breaker._probes <= POLICY.probes
    assert breaker.state is not State.OPEN or breaker.is_ready(now + POLICY.open_for)


def test_calls_from_before_the_half_open_time_say_nothing_of_now():
    breaker = opened(at=5.0)
    assert breaker.admit(7.0)
    breaker.failure(7.5, began=4.0)
    breaker.success(began=4.0)
    breaker.withdraw(began=4.0)
    assert breaker.state is State.HALF_OPEN
    assert not breaker.admit(7.5), "the probe is still on its way"
    breaker.success(began=7.0)
    for _ in range(9):
        breaker.failure(8.0, began=4.0)
    assert breaker.state is State.CLOSED


def test_a_call_from_before_the_half_open_time_is_no_probe():
    breaker = opened(at=5.0)
    assert breaker.admit(7.0)
    breaker.withdraw(began=7.0)
    assert not breaker.is_ready(6.9)
    assert not breaker.admit(6.9), "its end would not count, so it would hold its place for ever"
    assert breaker.admit(7.1)


def test_a_run_that_scattered_failures_explain_does_not_open_it_and_a_longer_one_does():
    breaker = Breaker(BreakerPolicy())
    for number in range(1000):
        breaker.success() if number % 3 else breaker.failure(1.0)
    for _ in range(7):
        breaker.failure(1.0)
    assert breaker.state is State.CLOSED
    for _ in range(7):
        breaker.failure(1.0)
    assert breaker.state is State.OPEN


def test_a_run_after_many_good_calls_opens_it_at_once():
    breaker = Breaker(BreakerPolicy())
    for number in range(1000):
        breaker.success() if number != 500 else breaker.failure(1.0)
    for _ in range(5):
        assert breaker.state is State.CLOSED
        breaker.failure(1.0)
    assert breaker.state is State.OPEN


class TestOverload:
    """Refusals come at once, and before the successes that were queued."""

    def test_a_run_of_refusals_says_nothing_while_older_calls_have_good_prospects(self):
        breaker = Breaker(POLICY)
        breaker.success(0.0, 0.1)
        for _ in range(9):
            breaker.failure(0.2, 0.2, overtaken=20)
        assert breaker.state is State.CLOSED
        breaker.failure(0.2, 0.2)
        assert breaker.state is State.OPEN

    def test_calls_that_were_overtaken_count_as_going_well_in_the_rate(self):
        breaker = Breaker(POLICY)
        for _ in range(9):
            breaker.failure(0.2, 0.2, overtaken=10)
        assert breaker.state is State.CLOSED
        breaker.failure(0.2, 0.2, overtaken=10)
        assert breaker.state is State.OPEN

    def test_a_failure_that_would_have_happened_everywhere_counts_and_opens_nothing(self):
        breaker = Breaker(POLICY)
        for _ in range(20):
            breaker.failure(0.2, 0.2, is_everywhere=True)
        assert breaker.state is State.CLOSED
        assert breaker.failure_share() == 1.0


def recovered(policy=POLICY):
    """Return a breaker that a probe closed at 2.5."""
    breaker = opened(policy=policy)
    assert breaker.admit(2.0)
    breaker.success(2.0, 0.5)
    assert breaker.state is State.CLOSED
    return breaker


def offer(breaker, seconds, capacity, *, calls=100, since=2.5):
    """Offer ``calls`` a second, of which an upstream answers ``capacity`` and refuses others; return the admitted."""
    admitted = 0
    room = 0.0
    for number in range(round(seconds * calls)):
        now = since + number / calls
        room = min(4.0, room + capacity / calls)
        if not breaker.admit(now):
            continue
        admitted += 1
        if room >= 1.0:
            room -= 1.0
            breaker.success(now, 0.0)
        else:
            breaker.failure(now, now, overtaken=1)
    return admitted


class TestNarrowing:
    def test_all_is_admitted_again_at_once_where_all_goes_well(self):
        breaker = recovered()
        assert offer(breaker, 1.0, 200) == 100

    @pytest.mark.parametrize("capacity", [10, 25])
    def test_so_much_is_admitted_that_the_failures_come_down_to_the_rate(self, capacity):
        breaker = recovered()
        admitted = offer(breaker, 20.0, capacity)
        assert breaker.state is State.CLOSED
        assert 20 * capacity < admitted < 20 * 3.5 * capacity

    def test_it_is_an_ordinary_breaker_again_after_a_window_of_health(self):
        breaker = recovered()
        offer(breaker, 2.0, 20)
        offer(breaker, 15.0, 200, since=4.5)
        assert breaker.share == 1.0
        for number in range(900):
            breaker.failure(20.0, 20.0, overtaken=1) if number % 4 else breaker.success(20.0, 0.0)
        assert breaker.state is State.OPEN

    def test_failures_without_any_success_open_it_while_it_narrows(self):
        breaker = recovered()
        for _ in range(3):
            breaker.failure(2.6, 2.6)
        assert breaker.state is State.OPEN

    def test_the_share_grows_with_the_time_that_nobody_asks(self):
        breaker = recovered()
        offer(breaker, 3.0, 5)
        assert breaker.share < 0.5
        assert breaker.admit(8.0)
        assert breaker.share == 1.0

    def test_an_endpoints_breaker_opens_and_does_not_narrow(self):
        breaker = Breaker(POLICY, narrows=False)
        for _ in range(3):
            breaker.failure(0.0)
        breaker.admit(2.0)
        breaker.success(2.0, 0.5)
        for number in range(12):
            breaker.admit(3.0)
            breaker.failure(3.0, 3.0) if number % 4 else breaker.success(3.0, 0.0)
        assert breaker.state is State.OPEN
        assert breaker.share == 1.0
