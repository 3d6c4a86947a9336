"""``proxyd upgrade``: the program on disk takes over from the one that runs."""

import argparse
import sys
from typing import Any, Final

from proxyd.cli import rpc
from proxyd.cli.context import admin_socket, print_json
from proxyd.cli.exits import FAILURE, OK
from proxyd.cli.parser import Commands, command, json_option
from proxyd.cli.tables import cell, printable

TIMEOUT_SECONDS: Final = 60.0
MOST_SECONDS: Final = 600.0
MOST_DRAIN_SECONDS: Final = 7 * 86400.0
GRACE_SECONDS: Final = 30.0
"""Beyond the time-out: what the daemon takes to give up, and to answer."""


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = command(commands, "upgrade", "have the program on disk take over, without a connection lost", _upgrade)
    parser.description = (
        "Starts the installed program beside the daemon that runs, with the same command line and environment, and "
        "hands over the listening sockets once it is ready. The former generation takes no new connections then; its "
        "exchanges and tunnels go on until they end. If the new one does not get ready, nothing changes."
    )
    parser.add_argument(
        "--timeout", metavar="S", type=_seconds(MOST_SECONDS), default=TIMEOUT_SECONDS,
        help=f"seconds that it may take to get ready (default {TIMEOUT_SECONDS:g})",
    )  # fmt: skip
    parser.add_argument(
        "--drain", metavar="S", type=_seconds(MOST_DRAIN_SECONDS),
        help="seconds after which tunnels of the former generation are cut (default: upgrade_drain)",
    )  # fmt: skip
    json_option(parser)


def _upgrade(arguments: argparse.Namespace) -> int:
    socket, explicit = admin_socket(arguments)
    wait = arguments.timeout + GRACE_SECONDS
    answer = rpc.call(socket, "upgrade", arguments.timeout, arguments.drain, any_owner=explicit, seconds=wait)
    done = bool(answer.get("ok"))
    if arguments.json:
        print_json(answer)
    elif done:
        print(_success(answer))
    else:
        for line in str(answer.get("problem")).splitlines():
            print(f"proxyd: upgrade: {printable(line)}", file=sys.stderr)
        print(f"nothing was changed: generation {cell('', answer.get('generation'))} goes on", file=sys.stderr)
    return OK if done else FAILURE


def _success(answer: dict[str, Any]) -> str:
    limit = cell("drain_seconds", answer.get("drain_seconds"))
    return (
        f"upgraded: generation {cell('', answer.get('generation'))} serves; what the former one carries may go on "
        f"for {limit} ('proxyd status' shows it)"
    )


def _seconds(most: float) -> Any:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"expected seconds from 0 to {most:g}, got {text!r}")
        return value

    return read
