"""All endpoints are down for ten seconds, then back."""

import trio

from bench.faults.products import amplification
from bench.faults.rows.base import Row, Run
from bench.faults.tally import last_failure, latency_ms
from bench.stats import Sample

DIE, RETURN = 3.0, 13.0


class Outage(Row):
    name = "outage"
    about = "all endpoints down for 10 s, then back"
    columns = ("amplification", "recovery_s", "failed_before", "in_flight_peak", "pss_peak_mib", "p99_down_ms")
    seconds = 20.0

    async def disturb(self, run: Run) -> None:
        await run.at(DIE)
        for endpoint in run.endpoints:
            endpoint.kill()
        run.note("down")
        await run.at(RETURN)
        run.note("still down")
        async with trio.open_nursery() as nursery:
            for endpoint in run.endpoints:
                nursery.start_soon(trio.to_thread.run_sync, endpoint.start)
        run.note("up")

    def measure(self, run: Run) -> Sample:
        down, ending = run.moments["down"], run.moments["still down"]
        during = [one for one in run.outcomes if down <= one.at < ending]
        return {
            "amplification": amplification(run.log, run.clock["down"], run.clock["still down"]),
            "recovery_s": last_failure(run.outcomes, run.moments["up"]),
            "failed_before": sum(1 for one in run.outcomes if not one.is_good and one.at < down - 0.1),
            "p99_down_ms": latency_ms(during, 0.99),
        }
