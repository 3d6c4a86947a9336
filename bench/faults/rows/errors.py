"""One endpoint answers 30 % of its requests with 503."""

import contextlib
from collections.abc import Iterator

from bench.faults.endpoints import Kind
from bench.faults.rows.base import Row, Run
from bench.faults.tally import failures, latency_ms
from bench.stats import Sample

SHARE = "0.3"


class Errors(Row):
    name = "errors"
    about = "one of three endpoints answers 30 % errors"
    columns = ("success", "amplification", "failed", "p99_ms", "errors_met")
    seconds = 14.0

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[list[Kind]]:
        yield [Kind((*Kind().options, "--errors", SHARE)), Kind(), Kind()]

    def measure(self, run: Run) -> Sample:
        counts = [endpoint.counts() for endpoint in run.endpoints]
        requests = len(run.outcomes)
        return {
            "success": 1 - len(failures(run.outcomes)) / requests,
            "amplification": sum(one.get("requests", 0) for one in counts) / requests,
            "errors_met": sum(one.get("errors", 0) for one in counts),
            "p99_ms": latency_ms(run.outcomes, 0.99),
        }
