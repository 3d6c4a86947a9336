"""``proxyd certs``: every certificate in play, and whether one ends soon."""

import argparse
from collections.abc import Mapping
from typing import Any, Final

from proxyd.cli.context import call, print_json
from proxyd.cli.exits import FAILURE, OK
from proxyd.cli.parser import Commands, command, json_option
from proxyd.cli.tables import render

_COLUMNS: Final = ("status", "days_left", "not_after", "kind", "name", "issuer")
"""What has room on a line; the rest stands in JSON."""
MAX_DAYS: Final = 36600.0


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    for name, text in (
        ("certs", "every certificate in play, the one that ends first on top"),
        ("certificates", "the same as certs"),
    ):
        certs = command(commands, name, text, _certs)
        json_option(certs, "print one JSON array, with serial numbers, names and fingerprints")
        certs.add_argument(
            "--warn",
            metavar="DAYS",
            type=_days,
            help="print only what ends within DAYS, is over or not yet valid; exit 0 if there is none, else 1",
        )


def _certs(arguments: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = call(arguments, "certificates")
    if arguments.warn is not None:
        rows = [row for row in rows if _is_near(row, arguments.warn)]
    if arguments.json:
        print_json(rows)
    else:
        shown = [{name: row.get(name) for name in _COLUMNS} for row in rows]
        empty = "no certificates" if arguments.warn is None else f"no certificate ends within {arguments.warn:g} days"
        print(render(shown, empty), end="")
    return FAILURE if arguments.warn is not None and rows else OK


def _is_near(row: Mapping[str, Any], days: float) -> bool:
    """Whether a certificate is a reason to wake somebody; what the local CA makes anew in time is none."""
    if row["status"] in ("expired", "not yet valid"):
        return True
    left = row["days_left"]
    return row["kind"] not in ("leaf", "intermediate") and left is not None and left <= days


def _days(text: str) -> float:
    days = float(text.removesuffix("d"))
    if not 0 <= days <= MAX_DAYS:
        raise ValueError(text)
    return days
