"""One of three endpoints is in a network namespace that swallows every packet from some moment on."""

import contextlib
from collections.abc import Iterator

import trio

from bench.faults import hole
from bench.faults.endpoints import Kind
from bench.faults.hole import Hole
from bench.faults.products import CONNECT_SECONDS
from bench.faults.rows.base import Row, Run
from bench.faults.tally import latency_ms
from bench.stats import Sample

OPENS = 4.0
MET = 0.5 * CONNECT_SECONDS
"""Whoever waits longer met the hole."""


class BlackHole(Row):
    name = "black-hole"
    about = "packets to one of three endpoints are dropped (network namespace)"
    columns = ("failed", "failover_s", "met_hole", "met_later", "max_ms", "in_flight_peak")
    seconds = 18.0

    def __init__(self) -> None:
        self._hole: Hole | None = None

    def obstacle(self) -> str:
        return hole.obstacle()

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[list[Kind]]:
        with Hole() as dark:
            self._hole = dark
            yield [Kind(address=hole.THEIRS, inside=dark.inside), Kind(), Kind()]

    async def disturb(self, run: Run) -> None:
        await run.at(OPENS)
        assert self._hole is not None
        await trio.to_thread.run_sync(self._hole.open)
        run.note("open")

    def measure(self, run: Run) -> Sample:
        opened = run.moments["open"]
        met = [
            one.at - opened for one in run.outcomes if one.at > opened - 0.2 and (one.seconds > MET or not one.is_good)
        ]
        at_once = [at for at in met if at <= CONNECT_SECONDS]
        return {
            "failover_s": max(at_once, default=0.0),
            "met_hole": len(at_once),
            "met_later": len(met) - len(at_once),
            "max_ms": latency_ms(run.outcomes, 1.0),
        }
