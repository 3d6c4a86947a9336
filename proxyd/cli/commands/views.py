"""Commands that show one answer of the daemon, as tables or as JSON."""

import argparse

from proxyd.cli.context import call, print_json
from proxyd.cli.exits import OK
from proxyd.cli.parser import Commands, command, json_option
from proxyd.cli.tables import render

_VIEWS = (
    ("status", "the daemon at a glance", "nothing"),
    ("services", "the configured services", "no services are configured"),
    ("pools", "upstream connections", "no pools: nothing has been sent yet"),
)


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    for name, text, empty in _VIEWS:
        show = command(commands, name, text, _show)
        show.set_defaults(method=name, empty=empty)
        json_option(show)
    json_option(command(commands, "config", "the configuration in use as JSON, secrets as names", _show_config))


def _show(arguments: argparse.Namespace) -> int:
    value = call(arguments, arguments.method)
    if arguments.json:
        return print_json(value)
    print(render(value, arguments.empty), end="")
    return OK


def _show_config(arguments: argparse.Namespace) -> int:
    return print_json(call(arguments, "config"))  # too deep for a table
