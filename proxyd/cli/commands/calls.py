"""``proxyd ctl``: any admin call."""

import argparse
import json
from typing import Any, Final

from proxyd.cli.context import call, print_json
from proxyd.cli.exits import USAGE, CommandError
from proxyd.cli.parser import Commands, command

TAKE_VALUES: Final = ("secret.set", "secret.rotate")
"""Methods whose parameters are a secret's value."""


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    ctl = command(commands, "ctl", "make one admin call ('ctl methods' lists them)", _ctl)
    ctl.add_argument("method", metavar="METHOD")
    ctl.add_argument("params", metavar="JSON", nargs="?", help="parameters: a JSON array, or one value")


def _ctl(arguments: argparse.Namespace) -> int:
    if arguments.method in TAKE_VALUES and arguments.params is not None:
        verb = arguments.method.partition(".")[2]
        text = f"ctl {arguments.method}: others can see a value on a command line (ps); use 'proxyd secret {verb}'"
        raise CommandError(text, USAGE)
    params: list[Any] = []
    if arguments.params is not None:
        try:
            value = json.loads(arguments.params)
        except ValueError as error:
            raise CommandError(f"ctl: the parameters are no JSON: {error}", USAGE) from None
        params = value if isinstance(value, list) else [value]
    return print_json(call(arguments, arguments.method, *params))
