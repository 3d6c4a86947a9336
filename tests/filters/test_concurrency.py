import pytest

from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.message import BytesBody, Request, Response
from proxyd.core.resilience import AdaptiveConcurrency
from proxyd.core.snapshot import Snapshot
from proxyd.filters.concurrency import Admission, ConcurrencyFilter
from proxyd.filters.gradient import Gradient


class Gate:
    """A filter, what it counted, and how many requests all workers have under way."""

    def __init__(self):
        self.refused = self.total = 0
        self.admission = Admission(Gradient(AdaptiveConcurrency(), "api", 0.0), lambda: self.total, self._refuse)
        self.filter = ConcurrencyFilter("api", self.admission)

    def _refuse(self):
        self.refused += 1

    @property
    def learned(self):
        return len(self.admission.gradient._samples)


def exchange():
    request = Request(b"GET", b"http", Authority("a.example", 80, False), b"/", [], BytesBody())
    return Exchange(Peer("main", "127.0.0.1"), Snapshot(1, "p", 0), request, 0.0, "plain")


def answered(gate, made, status=200, attempts=1):
    made.response = Response(status, [], BytesBody())
    made.attempts = attempts
    gate.filter.response(made)
    gate.filter.done(made)


async def test_a_request_beyond_the_limit_is_refused_until_another_one_is_over(autojump_clock):
    gate = Gate()
    first, *_ = made = [exchange() for _ in range(3)]
    for one in made:
        gate.filter.request(one)
    with pytest.raises(ProxyError, match="api has 3 requests under way") as caught:
        gate.filter.request(exchange())
    assert (caught.value.status, caught.value.flag) == (503, Flag.CONCURRENCY_LIMIT)
    assert gate.refused == 1
    answered(gate, first)
    gate.filter.request(exchange())


async def test_one_that_was_refused_gives_nothing_back(autojump_clock):
    gate = Gate()
    for _ in range(3):
        gate.filter.request(exchange())
    late = exchange()
    with pytest.raises(ProxyError):
        gate.filter.request(late)
    gate.filter.done(late)
    assert gate.admission.gradient.under_way == 3


@pytest.mark.parametrize(("status", "attempts", "learned"), [(200, 1, 1), (404, 1, 1), (503, 1, 0), (200, 2, 0)])
async def test_heads_below_500_that_took_one_attempt_are_learned_from(autojump_clock, status, attempts, learned):
    gate = Gate()
    made = exchange()
    gate.filter.request(made)
    answered(gate, made, status, attempts)
    assert gate.learned == learned
    assert gate.admission.gradient.under_way == 0


@pytest.mark.parametrize(("flag", "learned"), [(Flag.UPSTREAM_TIMEOUT, 1), (Flag.UPSTREAM_CONNECT, 0)])
async def test_a_timeout_is_a_latency_and_other_failures_are_none(autojump_clock, flag, learned):
    gate = Gate()
    made = exchange()
    gate.filter.request(made)
    made.error = ProxyError(504, flag, "x", "y")
    gate.filter.done(made)
    assert gate.learned == learned


async def test_only_what_meets_few_others_in_any_worker_is_calm(autojump_clock):
    gate = Gate()
    alone, crowded = exchange(), exchange()
    gate.filter.request(alone)
    gate.total = 3
    gate.filter.request(crowded)
    assert [gate.admission.admitted[one][1] for one in (alone, crowded)] == [True, False]
