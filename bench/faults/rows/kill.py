"""kill -9 for one of three endpoints; it is back five seconds later."""

import trio

from bench.faults.products import amplification
from bench.faults.rows.base import Row, Run
from bench.faults.tally import latency_ms
from bench.stats import Sample

DIES, RETURNS = 3.0, 8.0


class Kill(Row):
    name = "kill"
    about = "kill -9 one of three endpoints, restart 5 s later"
    columns = ("failed", "requests", "p99_ms", "max_ms", "amplification")
    seconds = 13.0

    async def disturb(self, run: Run) -> None:
        await run.at(DIES)
        run.endpoints[0].kill()
        await run.at(RETURNS)
        await trio.to_thread.run_sync(run.endpoints[0].start)

    def measure(self, run: Run) -> Sample:
        return {
            "p99_ms": latency_ms(run.outcomes, 0.99),
            "max_ms": latency_ms(run.outcomes, 1.0),
            "amplification": amplification(run.log),
        }
