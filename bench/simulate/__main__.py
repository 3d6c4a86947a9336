"""``python -m bench.simulate``: play a fault through, and print what became of the requests as one JSON object."""

import argparse
import json
import random
import sys
from collections.abc import Sequence

from bench.simulate.report import document
from bench.simulate.scenarios import SCENARIOS, brief
from bench.simulate.world import simulate


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    words.add_argument("--scenario", default="all", metavar="NAME", help="one of --list, or all (default)")
    words.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same output (0)")
    words.add_argument(
        "--brief",
        type=int,
        default=0,
        metavar="REQUESTS",
        help="so few requests, under policies drawn by the seed: what the tests run",
    )
    words.add_argument("--list", action="store_true", help="name the scenarios and exit")
    return words


def play(name: str, seed: int, requests: int = 0) -> dict[str, object]:
    """Simulate and describe one scenario."""
    scenario = SCENARIOS[name]
    if requests:
        scenario = brief(scenario, requests, random.Random(seed))
    return document(name, seed, scenario, simulate(scenario, seed))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one object, or with ``all`` one that holds each scenario's; 1 where something did not hold."""
    words = parser()
    options = words.parse_args(arguments)
    if options.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:12} {scenario.about}")
        return 0
    if options.scenario != "all" and options.scenario not in SCENARIOS:
        words.error(f"no scenario is called {options.scenario}; there are {', '.join(SCENARIOS)}")
    if options.brief < 0:
        words.error(f"--brief {options.brief} is not 0 or more")
    names = list(SCENARIOS) if options.scenario == "all" else [options.scenario]
    documents = {name: play(name, options.seed, options.brief) for name in names}
    print(json.dumps(documents if options.scenario == "all" else documents[names[0]], indent=1))
    return 1 if any(one["violations"] for one in documents.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
