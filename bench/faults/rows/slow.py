"""One of three endpoints takes twenty times as long as the others."""

import contextlib
from collections.abc import Iterator

from bench.faults.endpoints import Kind
from bench.faults.rows.base import Row, Run
from bench.faults.tally import latency_ms
from bench.stats import Sample


class Slow(Row):
    name = "slow"
    about = "one of three endpoints 20x slower: 100 ms, not 5 ms"
    columns = ("p99_ms", "p50_ms", "max_ms", "extra_load", "slow_share", "failed")
    seconds = 12.0
    products = ("proxyd", "proxyd-hedging", "envoy")

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[list[Kind]]:
        yield [Kind(("--delay", "0.1")), Kind(), Kind()]

    def measure(self, run: Run) -> Sample:
        served = [endpoint.counts().get("requests", 0) for endpoint in run.endpoints]
        return {
            "p50_ms": latency_ms(run.outcomes, 0.5),
            "p99_ms": latency_ms(run.outcomes, 0.99),
            "max_ms": latency_ms(run.outcomes, 1.0),
            "extra_load": sum(served) / len(run.outcomes) - 1,
            "slow_share": served[0] / sum(served),
        }
