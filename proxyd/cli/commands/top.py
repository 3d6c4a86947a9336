"""``proxyd top``: a screen that refreshes itself."""

import argparse
from typing import Final

from proxyd.cli.parser import Commands, command

INTERVAL: Final = 2.0
SHORTEST: Final = 0.2
LONGEST: Final = 3600.0


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "top", "requests and errors per second, services and workers, refreshed", _top)
    parser.description = (
        "Shows rates, services and workers, and refreshes itself until q or Ctrl-C. Where standard output is no "
        "terminal it prints one screen and ends."
    )
    parser.add_argument(
        "--interval", metavar="S", type=_interval, default=INTERVAL, help=f"seconds between screens ({INTERVAL:g})"
    )


def _top(arguments: argparse.Namespace) -> int:
    from proxyd.cli.top import top

    return top(arguments)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected {SHORTEST:g} to {LONGEST:g} seconds, got {text!r}")
    return seconds
