"""What a decision of the limiter costs, and a key: ``python -m bench.limits [--keys N]``.

Measured as the filter takes it (``Gates.take`` of an exchange, the key made anew each time), for one worker's own rates
and for leases, with one limit and with two. Prints JSON; returns 0 when the bars are met: 3 us per decision and
window, 1e6 keys in 200 MiB.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import psutil

from proxyd.core.authority import Authority
from proxyd.core.exchange import Exchange, Peer
from proxyd.core.limiting import CALLER, SERVICE, Limit, Mode
from proxyd.core.message import BytesBody, Request
from proxyd.core.snapshot import Snapshot
from proxyd.core.units import MIB
from proxyd.limiting.gate import Gate, Gates, LocalRate
from proxyd.limiting.ledger import Ledger, Question, Reply

MOST_US: Final = 3.0
MOST_MIB: Final = 200.0
CALLERS: Final = 1000
TURNS: Final = 200_000


def exchange(caller: str) -> Exchange:
    """Return an exchange of this caller."""
    request = Request(b"GET", b"https", Authority("api.test", 443, False), b"/x", [], BytesBody())
    return Exchange(Peer("main", "127.0.0.1", user=caller), Snapshot(1, "p", 1000), request, 0.0, "plain")


def local(limits: int) -> Gates:
    """Return gates of a worker that is alone."""
    return Gates([_gate(LocalRate(1e6, 1_000_000), number) for number in range(limits)])


def leased(limits: int) -> Gates:
    """Return gates that spend from leases, which are always granted at once."""
    gates = []
    for number in range(limits):
        ledgers: list[Ledger] = []

        def grant(question: Question, ledgers: list[Ledger] = ledgers) -> None:
            ledgers[0].answer(Reply(question.key, 100_000, 1e9, 0.0, 1, 1.0, 1, False), 0.0)

        limit = _limit(number)
        ledgers.append(Ledger(limit, 2, grant, lambda key: None))
        gates.append(Gate("service", limit, ledgers[0], lambda *anything: None))
    return Gates(gates)


def microseconds(gates: Gates) -> float:
    """Return what one take costs."""
    exchanges = [exchange(f"uid {number}") for number in range(CALLERS)]
    for one in exchanges:
        gates.try_take(one, 1.0)  # the first asks for a lease, and the next has it
        gates.try_take(one, 1.0)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        for turn in range(TURNS // CALLERS):
            now = 1.0 + turn * 0.001
            for one in exchanges:
                gates.take(one, now)
        best = min(best, time.perf_counter() - begin)
    return best / TURNS * 1e6


def mebibytes(keys: int, make: Callable[[], Gates]) -> float:
    """Return what this process has grown by after so many callers."""
    gc.collect()
    process = psutil.Process(os.getpid())
    gates = make()
    one = exchange("")
    before = process.memory_info().rss
    for number in range(keys):
        one.peer = Peer("main", "127.0.0.1", user=f"identity {number}")
        gates.take(one, 1.0)
    return (process.memory_info().rss - before) / MIB


def _limit(number: int) -> Limit:
    return Limit(f"limit{number}", (CALLER, SERVICE), rate=1e6, burst=1_000_000, mode=Mode.REJECT)


def _gate(allowance: LocalRate, number: int) -> Gate:
    return Gate("service", _limit(number), allowance, lambda *anything: None)


def main() -> int:
    """Measure, print, judge."""
    words = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    words.add_argument("--keys", type=int, default=1_000_000)
    keys = words.parse_args().keys
    one, two = microseconds(local(1)), microseconds(local(2))
    figures: dict[str, Any] = {
        "keys_mib": round(mebibytes(keys, lambda: local(1)), 1),
        "keys": keys,
        "local_us": round(one, 2),
        "local_us_per_window_of_two": round(two / 2, 2),
        "leased_us": round(microseconds(leased(1)), 2),
        "leased_us_per_window_of_two": round(microseconds(leased(2)) / 2, 2),
    }
    print(json.dumps(figures, indent=1))
    slow = [name for name, value in figures.items() if "_us" in name and value > MOST_US]
    return 1 if slow or figures["keys_mib"] > MOST_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
