"""What can go wrong, by name: who the endpoints are, what befalls them, and which policies are set."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.simulate.upstream import Behaviour, Phase
from proxyd.core.limits import PoolLimits
from proxyd.core.resilience import (
    AdaptiveConcurrency,
    Balance,
    BreakerPolicy,
    HedgePolicy,
    OutlierPolicy,
    Resilience,
    RetryPolicy,
)
from proxyd.core.service import Timeouts

FINE = Behaviour()
DOWN = Behaviour(is_down=True)
WELL = (Phase(0.0, FINE),)
TIMEOUTS = Timeouts(connect=1.0, first_byte=2.0, per_try=5.0, total=10.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation's world. Times are seconds from its start."""

    about: str
    servers: tuple[tuple[Phase, ...], ...] = (WELL, WELL, WELL)
    weights: tuple[int, ...] = ()
    priorities: tuple[int, ...] = ()
    listed: tuple[int, ...] = ()
    """The servers that are endpoints at the start, by their place above; all where it is empty."""
    moves: tuple[tuple[float, tuple[int, ...]], ...] = ()
    """When discovery finds which others in their place."""
    slots: int = 64
    """Requests that a server works on at a time ..."""
    queue: int = 1024
    """... and that wait for that; others are answered 503 at once."""
    seconds: float = 12.0
    """Requests come for so long ..."""
    rate: float = 100.0
    """... at so many each second, as a Poisson process."""
    bursts: float = 0.0
    """Share of the requests that come in bursts of ten."""
    posts: float = 0.1
    """Share of POST among them."""
    uploads: float = 0.0
    """Share of POSTs whose bodies come within a second, and cannot be sent twice."""
    leavers: float = 0.0
    """Share of clients that leave within 0.1 s without an answer; as many exchanges are cancelled."""
    held: float = 0.0
    """Share of requests that come slowly, or that something before the router holds back."""
    policy: Resilience = field(default_factory=Resilience)
    timeouts: Timeouts = TIMEOUTS
    pool: PoolLimits = field(default_factory=PoolLimits)


def _flapping(period: float, until: float) -> tuple[Phase, ...]:
    phases = list(WELL)
    at = period
    while at < until:
        phases += [Phase(at, DOWN), Phase(at + period / 2, FINE)]
        at += period
    return tuple(phases)


def _from(begin: float, behaviour: Behaviour, end: float | None = None) -> tuple[Phase, ...]:
    return (*WELL, Phase(begin, behaviour), *(() if end is None else (Phase(end, FINE),)))


_TLS = Behaviour(median=0.01, handshake=0.04)
_BUSY = _from(0, Behaviour(median=0.04))
_CAPACITY = 4 / (0.04 * math.exp(0.08))
"""Requests per second of a busy server with four slots: 92, by the mean of its distribution."""


SCENARIOS: Mapping[str, Scenario] = {
    "steady": Scenario("nothing goes wrong"),
    "kill_one": Scenario("one of three is killed after 3 s and back 5 s later", (WELL, WELL, _from(3, DOWN, 8))),
    "two_down": Scenario("two of three are down from 3 s to 8 s", (WELL, _from(3, DOWN, 8), _from(3, DOWN, 8))),
    "one_slow": Scenario("one of three is 20 times slower from 2 s on", (WELL, WELL, _from(2, Behaviour(median=0.2)))),
    "hedged": Scenario(
        "one of three is 20 times slower from 2 s on, and slow requests are hedged",
        (WELL, WELL, _from(2, Behaviour(median=0.2))),
        policy=Resilience(hedge=HedgePolicy()),
    ),
    "one_errors": Scenario("one of three answers 30 % with 5xx", (WELL, WELL, _from(0, Behaviour(errors=0.3)))),
    "one_limits": Scenario(
        "one of three answers 429 at once from 2 s on",
        (WELL, WELL, _from(2, Behaviour(median=0.001, errors=1.0, statuses=(429,)))),
    ),
    "brownout": Scenario("all three answer 35 % with 503", (_from(0, Behaviour(errors=0.35, statuses=(503,))),) * 3),
    "all_down": Scenario("all three are down for 10 s, then back", (_from(3, DOWN, 13),) * 3, seconds=18, rate=100.0),
    "black_hole": Scenario(
        "packets to one of three vanish from 3 s on", (WELL, WELL, _from(3, Behaviour(is_silent=True)))
    ),
    "flapping": Scenario("one of three goes down and comes back every second", (WELL, WELL, _flapping(1.0, 12.0))),
    "overload": Scenario(
        "twice what three servers can carry, and they refuse what they cannot queue",
        (_BUSY,) * 3,
        slots=4,
        queue=8,
        rate=500.0,
        seconds=6,
    ),
    "crowded": Scenario(
        "a quarter more than three servers can carry, and they refuse what they cannot queue",
        (_BUSY,) * 3,
        slots=4,
        queue=8,
        rate=3 * 1.25 * _CAPACITY,
    ),
    "crowded_one": Scenario(
        "a quarter more than a single server can carry, and it refuses what it cannot queue",
        (_BUSY,),
        slots=4,
        queue=8,
        rate=1.25 * _CAPACITY,
    ),
    "queueing": Scenario(
        "a quarter more than a single server can carry, and it queues a thousand",
        (_BUSY,),
        slots=4,
        rate=1.25 * _CAPACITY,
        seconds=30,
    ),
    "adaptive": Scenario(
        "the same for longer, and adaptive concurrency finds out what it can carry",
        (_BUSY,),
        slots=4,
        rate=1.25 * _CAPACITY,
        seconds=150,
        policy=Resilience(adaptive_concurrency=AdaptiveConcurrency()),
    ),
    "adaptive_slower": Scenario(
        "the same again, and from 40 s to 100 s the server takes twice as long",
        ((*_BUSY, Phase(40, Behaviour(median=0.08)), Phase(100, Behaviour(median=0.04))),),
        slots=4,
        rate=1.25 * _CAPACITY,
        seconds=150,
        policy=Resilience(adaptive_concurrency=AdaptiveConcurrency()),
    ),
    "resets": Scenario(
        "connections end on the way, and break before, after and within answers",
        (_from(0, Behaviour(stale=0.05, lost=0.03, cuts=0.01)),) * 3,
        posts=0.4,
    ),
    "streams": Scenario(
        "bodies come and go byte by byte, while connections break, one server is killed, and answers are cut",
        (*(_from(0, Behaviour(trickle=0.3, lost=0.02, cuts=0.01)),) * 2, _from(3, DOWN, 8)),
        posts=0.5,
        uploads=0.5,
    ),
    "handshakes": Scenario(
        "a single server restarts; a handshake costs it as much as four requests",
        ((*_from(0, _TLS), Phase(3, DOWN), Phase(4, _TLS)),),
        slots=4,
        rate=200.0,
    ),
    "moved": Scenario(
        "the name's address changes at 5 s, and the former server ends a second later",
        (_from(6, DOWN), WELL),
        listed=(0,),
        moves=((5.0, (1,)),),
    ),
    "unavailable": Scenario(
        "a single server answers 503 with Retry-After for a second, again and again",
        (
            tuple(
                phase
                for at in range(0, 12, 3)
                for phase in (
                    Phase(at, FINE),
                    Phase(at + 2, Behaviour(errors=1.0, statuses=(503,), retry_after="1")),
                )
            ),
        ),
        rate=50.0,
    ),
    "backup": Scenario(
        "both servers of the first priority are down from 3 s to 8 s; two stand by",
        (_from(3, DOWN, 8), _from(3, DOWN, 8), WELL, _from(5, Behaviour(errors=0.5), 9)),
        priorities=(0, 0, 1, 1),
    ),
}


def brief(scenario: Scenario, requests: int, rng: random.Random) -> Scenario:
    """Return ``scenario`` with few requests, and with policies drawn at random: tight ones, odd ones, none."""
    count = len(scenario.servers)
    retry = RetryPolicy(
        attempts=rng.choice((1, 2, 3, 3, 5)),
        on=rng.choice((RetryPolicy().on, ("connect", "reset", "timeout", "500", "502", "503", "504"), ("connect",))),
        base=rng.choice((0.001, 0.025, 0.5)),
        ratio=rng.choice((0.0, 0.2, 0.2, 1.0)),
        min_per_second=rng.choice((0.1, 0.3, 1.0, 3.0)),
        key_header=rng.choice(("", "", "idempotency-key")),
    )
    breaker = rng.choice((None, BreakerPolicy(), BreakerPolicy(consecutive_failures=2, open_for=0.5, probes=2)))
    outlier = rng.choice((None, OutlierPolicy(), OutlierPolicy(consecutive_5xx=2, base_ejection=1.0, interval=1.0)))
    return dataclasses.replace(
        scenario,
        rate=requests / scenario.seconds,
        bursts=rng.choice((0.0, 0.5, 0.9)),
        posts=rng.choice((0.1, 0.5)),
        leavers=rng.choice((0.0, 0.1)),
        uploads=rng.choice((0.0, 0.3)),
        held=rng.choice((0.0, 0.2)),
        weights=tuple(rng.randint(1, 3) for _ in range(count)),
        slots=rng.choice((1, 4, 64)),
        queue=rng.choice((2, 1024)),
        policy=Resilience(
            balance=rng.choice(list(Balance)),
            slow_start=rng.choice((0.0, 2.0)),
            retry=retry,
            breaker=breaker,
            outlier=outlier,
            hedge=rng.choice((None, None, HedgePolicy(seconds=0.015, budget=0.5))),
            adaptive_concurrency=rng.choice((None, AdaptiveConcurrency(min_rtt_interval=2.0, min_rtt_requests=5))),
        ),
        timeouts=rng.choice((scenario.timeouts, Timeouts(connect=0.5, first_byte=0.6, per_try=0.9, total=2.0))),
        pool=rng.choice((PoolLimits(), PoolLimits(connections=2, pending=4, idle=1.0), PoolLimits(1, 2, requests=3))),
    )
