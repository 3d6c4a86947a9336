"""``python -m bench.faults``: the same faults for proxyd and Envoy, in one run, 500 requests a second."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.__main__ import chosen
from bench.faults import report
from bench.faults.products import PRODUCTS
from bench.faults.report import Result
from bench.faults.rows.table import ROWS
from bench.faults.tally import kinds
from bench.processes import StartError
from bench.tools import CACHE, MissingToolError, Tools


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    words.add_argument("--fault", default="all", help=f"all, or some of {', '.join(ROWS)} (comma separated)")
    words.add_argument("--products", help=f"some of {', '.join(PRODUCTS)} (comma separated); default: the row's own")
    words.add_argument("--json", action="store_true", help="one JSON document on standard output, tables on stderr")
    words.add_argument("--cache", type=Path, default=CACHE, help="folder of Envoy")
    words.add_argument("--keep", type=Path, help="folder for configurations and logs; default: they are removed")
    return words


def play(fault: str, products: Sequence[str] | None, tools: Tools, folder: Path) -> Result:
    """One row: its products, one after the other."""
    result = Result(ROWS[fault]())
    for name in products or result.row.products:
        if reason := result.row.obstacle():
            result.missing[name] = reason
            continue
        print(f"{fault}: {name}", file=sys.stderr, flush=True)
        row = ROWS[fault]()
        try:
            if name == "envoy":
                tools.find("envoy")
            sample, run = row.play(PRODUCTS[name], folder / fault / name, tools)
        except (MissingToolError, StartError) as error:
            result.missing[name] = str(error)
            continue
        result.figures[name] = sample
        result.kinds[name] = kinds(run.outcomes)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows; 0 also where a bar is not met, since it reports and does not judge."""
    words = parser()
    options = words.parse_args(arguments)
    try:
        faults = list(ROWS) if options.fault == "all" else chosen(options.fault, list(ROWS), "fault")
        products = chosen(options.products, list(PRODUCTS), "product") if options.products else None
    except ValueError as error:
        words.error(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: unwind, so that every process is ended
    described = machine.describe()
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as temporary:
        folder = options.keep or Path(temporary)
        for fault in faults:
            try:
                result = play(fault, products, Tools(options.cache), folder)
            except KeyboardInterrupt:
                return 130
            results.append(result)
            print(report.table(result), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps(report.document(described, results), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
