"""``python -m bench``: measure scenarios, or set up what they need."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine, report
from bench.peers.table import PEERS
from bench.run import run_scenario
from bench.scenarios.base import Round
from bench.scenarios.table import SCENARIOS
from bench.tools import CACHE, MissingToolError, Tools


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    words.add_argument("--scenario", default="all", help=f"all, or some of {', '.join(SCENARIOS)} (comma separated)")
    words.add_argument("--peers", help=f"some of {', '.join(PEERS)} (comma separated); default: the scenario's own")
    words.add_argument("--seconds", type=_positive, default=15, help="measured seconds of a peer, all rounds together")
    words.add_argument("--rounds", type=_positive, default=3, help="interleaved rounds (3)")
    words.add_argument("--warmup", type=_natural, default=1, help="seconds before each measurement (1)")
    words.add_argument("--json", action="store_true", help="one JSON document on standard output, tables on stderr")
    words.add_argument("--setup", action="store_true", help="install what is missing and exit; never fails for a peer")
    words.add_argument("--cache", type=Path, default=CACHE, help="folder of the Python peers and the load program")
    return words


def chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    """The names in the comma-separated ``text``; ValueError names those that are not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no {what} is called {', '.join(unknown)}; there are {', '.join(known)}")
    if not names:
        raise ValueError(f"no {what} is named; there are {', '.join(known)}")
    return list(dict.fromkeys(names))


def round_times(seconds: int, rounds: int, warmup: int) -> Round:
    """``seconds`` divided among the rounds, at least one each."""
    return Round(max(1, round(seconds / rounds)), warmup)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 0 also where a bar is not met, since it reports and does not judge."""
    words = parser()
    options = words.parse_args(arguments)
    try:
        names = list(SCENARIOS) if options.scenario == "all" else chosen(options.scenario, list(SCENARIOS), "scenario")
        peers = chosen(options.peers, list(PEERS), "peer") if options.peers else None
    except ValueError as error:
        words.error(str(error))
    tools = Tools(options.cache)
    if options.setup:
        for sentence in tools.setup(_say):
            _say(sentence)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: unwind, so that every peer is stopped
    times = round_times(options.seconds, options.rounds, options.warmup)
    described = machine.describe()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)  # a peer that drops its rights must reach its own folder
        for name in names:
            scenario = SCENARIOS[name]
            try:
                outcome = run_scenario(
                    scenario, peers or scenario.peers, tools, Path(folder) / name, options.rounds, times, _say
                )
            except MissingToolError as error:
                _say(str(error))
                return 1
            except KeyboardInterrupt:
                return 130
            outcomes.append(outcome)
            print(report.table(outcome), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        settings = {"rounds": options.rounds, "seconds_per_round": times.seconds, "warmup_seconds": times.warmup}
        print(json.dumps(report.document(described, settings, outcomes), indent=1))
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
