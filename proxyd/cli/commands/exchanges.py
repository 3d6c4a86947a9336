"""``proxyd exchanges`` and ``proxyd tail``: what was asked for of late, and what is asked for now."""

import argparse
import sys
from functools import partial
from typing import Any, Final

from proxyd.cli.context import call, connect, json_text, print_json
from proxyd.cli.exchanges import conditions, count, filter_options, line, notice_line, rows, since
from proxyd.cli.exits import OK
from proxyd.cli.parser import Commands, command, json_option
from proxyd.cli.rpc import CallError, Connection
from proxyd.cli.tables import render

LIMIT: Final = 100
LATEST: Final = 10
"""Exchanges that ``tail`` begins with."""


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = command(commands, "exchanges", "recent exchanges and tunnels, filtered", _exchanges)
    filter_options(parser)
    parser.add_argument("--since", metavar="WHEN", type=since, help="that began since: 90s, 5m, 2h, 1d ago or ISO 8601")
    parser.add_argument(
        "--limit", metavar="N", type=partial(count, least=1), default=LIMIT, help=f"the latest N (default {LIMIT})"
    )
    json_option(parser, "print one JSON document: a list, each item as a line of the access log")
    tail = command(commands, "tail", "exchanges as they happen, until Ctrl-C", _tail)
    filter_options(tail)
    tail.add_argument(
        "-n", "--lines", metavar="N", type=count, default=LATEST, help=f"begin with the latest N (default {LATEST})"
    )
    tail.add_argument("--notices", action="store_true", help="print what workers have to say as well")
    json_option(tail, "print one JSON line per exchange, as the access log does; notices have a level")


def _exchanges(arguments: argparse.Namespace) -> int:
    found = call(arguments, "exchanges", {**conditions(arguments), "limit": arguments.limit})
    if arguments.json:
        return print_json(found)
    print(render(rows(found), "no exchanges"), end="")
    return OK


def _tail(arguments: argparse.Namespace) -> int:
    wanted = conditions(arguments)
    kinds = ["exchange", "notice"] if arguments.notices else ["exchange"]
    with connect(arguments) as connection:
        connection.call("subscribe", {**wanted, "kinds": kinds})
        known = _latest(connection, wanted, arguments)
        for kind, (_, told) in connection.notifications():
            if kind == "dropped":
                print(f"proxyd: {int(told)} were dropped: this reader is too slow", file=sys.stderr)
            elif kind not in kinds or (kind == "exchange" and told.get("id") in known):
                continue
            else:
                _print(kind, told, arguments.json)
    return OK


def _latest(connection: Connection, wanted: dict[str, Any], arguments: argparse.Namespace) -> set[Any]:
    """Print the latest exchanges and return their ids: some of them may be told again."""
    if not arguments.lines:
        return set()
    try:
        latest = connection.call("exchanges", {**wanted, "limit": arguments.lines})
    except CallError as error:
        if error.reason == "not_kept":  # telemetry.recent is 0: those to come are told all the same
            return set()
        raise
    for exchange in latest:
        _print("exchange", exchange, arguments.json)
    return {exchange.get("id") for exchange in latest}


def _print(kind: str, told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json_text(told, indent=None), flush=True)
    else:
        print(line(told) if kind == "exchange" else notice_line(told), flush=True)
