"""Faults on purpose: add, list, clear."""

import argparse
import re
from typing import Any, Final

from proxyd.cli.context import call, print_json
from proxyd.cli.exits import OK, USAGE, CommandError
from proxyd.cli.parser import Commands, command, group, json_option
from proxyd.cli.tables import render

PLACES: Final = ("client", "upstream")

_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%")
_SHOWN: Final = ("id", "service", "what", "methods", "paths", "uids", "users", "cidrs", "at", "share", "hits")


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    verbs = group(commands, "fault", "make a service fail on purpose, for a while")
    _add_verb(verbs)
    show = command(verbs, "list", "the faults that are injected now", _list)
    json_option(show)
    clear = command(verbs, "clear", "end faults: those that are named, or all", _clear)
    clear.add_argument("ids", metavar="ID", nargs="*", help="what 'fault add' printed")


def _add_verb(verbs: Commands) -> None:
    new = command(verbs, "add", "inject a fault and print its id; status and the access log show it", _add)
    new.add_argument("--service", metavar="NAME", required=True, help="the service that it concerns")
    new.add_argument("--method", metavar="METHOD", action="append", help="only this method; may be repeated")
    new.add_argument("--path", metavar="PATH", action="append", help="only paths beneath this one; may be repeated")
    new.add_argument("--uid", metavar="UID", type=int, help="only callers with this user id")
    new.add_argument("--user", metavar="USER", help="only this proxy user")
    new.add_argument("--cidr", metavar="CIDR", help="only callers of this network")
    new.add_argument("--share", metavar="PERCENT", default="100%", help="share of the exchanges, such as 10%%")
    new.add_argument("--seed", metavar="NUMBER", type=int, help="of the draws, to have the same ones again")
    new.add_argument(
        "--at", choices=PLACES, default="client",
        help="who sees it: the client alone (default), or every attempt, so that retries and breakers act on it",
    )  # fmt: skip
    new.add_argument("--for", metavar="DURATION", dest="lasts", default="10m", help="how long; 10m, at most 24h")
    what = new.add_mutually_exclusive_group(required=True)
    what.add_argument("--delay", metavar="DURATION", help="wait before the request goes on, such as 300ms")
    what.add_argument("--status", metavar="STATUS", type=int, help="answer with this status, 400 to 599")
    what.add_argument(
        "--rate-limit", metavar="VENDOR", nargs="?", const="",
        help="answer 429 with a vendor's headers, the service's own where none is named",
    )  # fmt: skip
    what.add_argument("--reset", action="store_true", help="reset the connection")
    what.add_argument("--truncate", metavar="BYTES", help="cut the response's body after so many bytes, such as 1KiB")
    what.add_argument("--slow", metavar="RATE", help="bytes per second of the response's body, such as 1KiB")
    what.add_argument("--expired", action="store_true", help="answer as the vendor does for an expired credential")


def _add(arguments: argparse.Namespace) -> int:
    from proxyd.reading.quantities import duration, size

    values: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("service", "method", "path", "uid", "user", "cidr", "seed", "at", "status", "rate_limit")
    }
    values |= {name: getattr(arguments, name) or None for name in ("reset", "expired")}
    values["share"] = _share(arguments.share)
    values["seconds"] = _read("--for", duration, arguments.lasts)
    values["delay"] = _read("--delay", duration, arguments.delay)
    for name in ("truncate", "slow"):
        text = getattr(arguments, name)
        values[name] = _read(f"--{name}", size, int(text) if text is not None and text.isdecimal() else text)
    row = call(arguments, "fault_add", {name: value for name, value in values.items() if value is not None})
    print(row["id"])
    return OK


def _list(arguments: argparse.Namespace) -> int:
    rows = call(arguments, "fault_list")
    if arguments.json:
        return print_json(rows)
    shown = [
        {name: row[name] for name in _SHOWN}
        | {"share": f"{row['share'] * 100:.9g}%", "left_seconds": row["left_seconds"]}
        for row in rows
    ]
    unused = {name for name in _SHOWN if all(row[name] == [] for row in shown)}
    print(
        render([{n: v for n, v in row.items() if n not in unused} for row in shown], "no faults are injected"), end=""
    )
    return OK


def _clear(arguments: argparse.Namespace) -> int:
    cleared = call(arguments, "fault_clear", *([arguments.ids] if arguments.ids else []))["cleared"]
    print("\n".join(cleared) if cleared else "no faults were injected")
    return OK


def _share(text: str) -> float:
    match = _SHARE.fullmatch(text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise CommandError("fault add: --share: expected a percentage such as 10%, at most 100%", USAGE)
    return float(match[1]) / 100


def _read(option: str, reader: Any, value: Any) -> Any:
    from proxyd.reading.problems import Mistake

    if value is None:
        return None
    try:
        return reader(value)
    except Mistake as error:
        raise CommandError(f"fault add: {option}: {error}", USAGE) from None
