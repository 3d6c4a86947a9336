from dataclasses import replace

import pytest
import trio

from proxyd.core.access import Rule
from proxyd.core.authority import Authority
from proxyd.core.errors import Flag, ProxyError
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.fault import Fault, FaultAnswer, FaultKind, FaultPlace
from proxyd.core.limits import PoolLimits
from proxyd.core.message import BytesBody, Origin, Request, Response
from proxyd.core.route import Route
from proxyd.core.service import Timeouts
from proxyd.core.snapshot import Snapshot
from proxyd.filters.access import OpenJudge
from proxyd.filters.fault import AttemptFaults, FaultFilter, Injection

STATUS = Fault("f1", FaultKind.STATUS, Rule(True, ("api",)), 0.0, answer=FaultAnswer(503))
DELAY = replace(STATUS, id="f2", kind=FaultKind.DELAY, seconds=0.3, answer=None)
RESET = replace(STATUS, id="f3", kind=FaultKind.RESET, answer=None)
CUT = replace(STATUS, id="f4", kind=FaultKind.TRUNCATE, amount=4, answer=None)
SLOW = replace(STATUS, id="f5", kind=FaultKind.SLOW, amount=20, answer=None)


class Pieces:
    """A body that comes in pieces, with trailers at its end."""

    replayable = False

    def __init__(self, *pieces, length=None):
        self.pieces = list(pieces)
        self.length = length
        self.trailers = [(b"x-sum", b"1")]
        self.abandoned = False

    async def read(self):
        return self.pieces.pop(0) if self.pieces else b""

    def take_pending(self):
        return self.pieces.pop(0) if self.pieces else b""

    def abandon(self):
        self.abandoned = True


def exchange(method=b"GET", path=b"/v2/x?q=1", uid=1000, **timeouts):
    request = Request(method, b"https", Authority("api.example", 443, False), path, [], BytesBody())
    made = Exchange(Peer("main", "127.0.0.1", uid=uid), Snapshot(1, "p", 1000), request, 0.0, "plain")
    made.id = "r1"
    made.route = Route(None, Timeouts(**timeouts), PoolLimits(), OpenJudge())
    return made


def injection(fault, deadline=1e9):
    return Injection(fault, deadline, lambda _: None)


def faults(*injections):
    return FaultFilter(injections, False)


async def test_a_status_is_answered_in_the_upstreams_place_and_flagged():
    made, struck = exchange(), injection(STATUS)
    response = await faults(struck).request(made)
    assert (response.status, response.origin) == (503, Origin.PROXYD)
    assert b"injected fault f1: status 503" in dict(response.headers)[b"proxy-status"]
    assert made.error.flag is Flag.FAULT_INJECTED
    assert (made.flags, struck.hits) == ("FI", 1)


async def test_a_delay_comes_before_what_ends_the_exchange(autojump_clock):
    made = exchange()
    start = trio.current_time()
    response = await faults(injection(STATUS), injection(DELAY)).request(made)
    assert trio.current_time() - start == pytest.approx(0.3)
    assert response.status == 503
    assert made.flags == "DI,FI"


async def test_a_delay_ends_when_the_client_leaves(autojump_clock):
    made = exchange()
    start = trio.current_time()

    async def leave():
        await trio.sleep(0.1)
        made.abandon()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        with pytest.raises(ProxyError) as caught:
            await faults(injection(replace(DELAY, seconds=500))).request(made)
    assert caught.value.flag is Flag.DOWNSTREAM_DISCONNECT
    assert trio.current_time() - start < 1


async def test_a_reset_answers_nothing():
    with pytest.raises(ProxyError) as caught:
        await faults(injection(RESET)).request(exchange())
    assert (caught.value.status, caught.value.flag) == (499, Flag.FAULT_INJECTED)


@pytest.mark.parametrize(
    ("scope", "due"),
    [
        (Rule(True, ("api",), methods=("GET",), paths=("/v2",), uids=(1000,), cidrs=("127.0.0.0/8",)), True),
        (Rule(True, ("api",), methods=("POST",)), False),
        (Rule(True, ("api",), paths=("/v",)), False),
        (Rule(True, ("api",), uids=(1001,)), False),
        (Rule(True, ("api",), users=("ann",)), False),
        (Rule(True, ("api",), cidrs=("10.0.0.0/8",)), False),
    ],
)
async def test_only_exchanges_in_scope_meet_a_fault(scope, due):
    made = exchange()
    assert (await faults(injection(replace(STATUS, scope=scope))).request(made) is not None) is due
    assert bool(made.flags) is due


async def test_a_fault_that_expired_is_over_at_once(autojump_clock):
    struck = injection(STATUS, trio.current_time() + 10)
    assert await faults(struck).request(exchange()) is not None
    await trio.sleep(10)
    assert await faults(struck).request(exchange()) is None


async def test_the_same_seed_draws_the_same_share():
    async def run(seed):
        drawn = faults(injection(replace(STATUS, share=0.3, seed=seed)))
        return [await drawn.request(exchange()) is not None for _ in range(400)]

    first = await run(7)
    assert first == await run(7)
    assert first != await run(8)
    assert 80 < sum(first) < 160


async def test_a_body_breaks_off_after_so_many_bytes():
    made, struck = exchange(), injection(CUT)
    made.response = Response(200, [], Pieces(b"abc", b"def", length=6))
    faults(struck).response(made)
    body = made.response.body
    assert (body.length, body.take_ready(), made.flags) == (6, None, "")
    assert body.take_pending() == b"abc"
    assert await body.read() == b"d"
    with pytest.raises(ProxyError, match="injected fault f4"):
        await body.read()
    assert (made.flags, struck.hits) == ("FI", 1)


@pytest.mark.parametrize("body", [BytesBody(b"abcd"), Pieces(b"abc")])
async def test_a_body_that_is_shorter_stays_whole(body):
    made, struck = exchange(), injection(CUT)
    made.response = Response(200, [], body)
    faults(struck).response(made)
    first = await made.response.body.read()
    assert first in (b"abcd", b"abc")
    assert await made.response.body.read() == b""
    assert (made.flags, struck.hits) == ("", 0)


async def test_a_slow_body_comes_at_its_rate_with_its_trailers(autojump_clock):
    made = exchange()
    inner = Pieces(b"0123456789", b"abcdefghij")
    made.response = Response(200, [], inner)
    faults(injection(SLOW)).response(made)
    body = made.response.body
    start = trio.current_time()
    assert body.take_pending() == b""
    pieces = []
    while piece := await body.read():
        pieces.append(piece)
    assert b"".join(pieces) == b"0123456789abcdefghij"
    assert max(map(len, pieces)) == 2
    assert trio.current_time() - start == pytest.approx(1.0)
    assert body.trailers == [(b"x-sum", b"1")]
    assert made.flags == "DI"
    body.abandon()
    assert inner.abandoned


@pytest.mark.parametrize(
    ("method", "response"),
    [
        (b"HEAD", Response(200, [], BytesBody(b"abcdef"))),
        (b"GET", Response(304, [], BytesBody())),
        (b"GET", Response(503, [], BytesBody(b"injected"), origin=Origin.PROXYD)),
    ],
)
async def test_what_has_no_body_of_the_upstream_is_left_alone(method, response):
    made = exchange(method)
    made.response, former = response, response.body
    faults(injection(CUT), injection(SLOW)).response(made)
    assert made.response.body is former


def attempts(*wanted):
    return AttemptFaults([injection(replace(fault, place=FaultPlace.UPSTREAM)) for fault in wanted], False)


async def test_faults_of_attempts_are_no_concern_of_the_chain_and_the_other_way_round():
    assert await FaultFilter([injection(replace(STATUS, place=FaultPlace.UPSTREAM))], False).request(exchange()) is None
    assert not AttemptFaults([injection(STATUS)], False)
    assert attempts(STATUS)


async def test_an_attempt_is_answered_without_an_error_of_the_exchange():
    made = exchange()
    response = await attempts(STATUS)(made)
    assert response.status == 503
    assert made.error is None
    assert made.flags == "FI"


async def test_a_reset_attempt_looks_like_a_reset_upstream():
    with pytest.raises(ProxyError) as caught:
        await attempts(RESET)(exchange())
    assert caught.value.flag is Flag.UPSTREAM_DISCONNECT


async def test_a_delay_within_the_attempts_time_goes_on(autojump_clock):
    assert await attempts(DELAY)(exchange(first_byte=1.0)) is None


async def test_a_longer_delay_is_the_attempts_own_timeout(autojump_clock):
    made = exchange(first_byte=1.0)
    start = trio.current_time()
    made.try_deadline = start + 0.2
    with pytest.raises(ProxyError) as caught:
        await attempts(DELAY)(made)
    assert caught.value.flag is Flag.UPSTREAM_TIMEOUT
    assert trio.current_time() - start == pytest.approx(0.2)
    assert made.flags == "DI"
