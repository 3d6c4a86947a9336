"""One of three endpoints closes connections: at every byte offset of requests and of responses, GETs and POSTs.

Turns are taken in order, so that no product learns to leave the endpoint alone before every offset had its turn.
"""

import contextlib
from collections.abc import Iterator

import trio

from bench.faults.endpoints import Kind
from bench.faults.load import gets_and_posts
from bench.faults.rows.base import Row, Run
from bench.faults.tally import failures, ledger_errors, unsafe_cuts
from bench.stats import Sample

LOOK = 0.5


class Cuts(Row):
    name = "cuts"
    about = "connections closed at every byte offset of request and response; POSTs are entered in a ledger"
    columns = ("failed_gets", "cut_bodies", "posts_doubled", "posts_lost", "posts_failed", "offsets", "offsets_left")
    seconds = 28.0
    method = staticmethod(gets_and_posts)
    balance = "round_robin"

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[list[Kind]]:
        plain = Kind(("--ledger", "LEDGER"))
        yield [Kind(("--cuts", "--ledger", "LEDGER")), plain, plain]

    async def disturb(self, run: Run) -> None:
        while _left(await trio.to_thread.run_sync(run.endpoints[0].counts)):  # noqa: ASYNC110 - of another process
            await trio.sleep(LOOK)
        run.note("covered")

    def is_done(self, run: Run) -> bool:
        return "covered" in run.moments and run.load.now > run.moments["covered"] + LOOK

    def measure(self, run: Run) -> Sample:
        counts = run.endpoints[0].counts()
        gets = [one for one in run.outcomes if one.method == "GET"]
        ledger = [line for endpoint in run.endpoints for line in endpoint.ledger.read_text().split()]
        doubled, lost = ledger_errors(run.outcomes, ledger)
        cut = unsafe_cuts(gets, "GET")
        return {
            # What was cut in the body had its head delivered: there is no way back, and the client sees the cut
            "failed_gets": len(failures(gets)) - min(cut, counts["bodies"].get("GET", 0)),
            "cut_bodies": cut,
            "posts_doubled": doubled,
            "posts_lost": lost,
            "posts_failed": sum(1 for one in failures(run.outcomes) if one.method == "POST"),
            "offsets": sum(done for done, _ in counts["covered"].values()),
            "offsets_left": _left(counts),
        }


def _left(counts: dict[str, dict[str, list[int]]]) -> int:
    """Offsets that had no turn yet; some before any exchange of a method went through."""
    covered = counts["covered"]
    return sum(there - done for done, there in covered.values()) + (2 - len(covered))
