"""Commands that show one answer of the daemon, as tables or as JSON."""

import argparse
from typing import Any, Final

from proxyd.cli.context import call, print_json
from proxyd.cli.exchanges import rows
from proxyd.cli.exits import OK, USAGE, CommandError
from proxyd.cli.parser import Commands, command, json_option
from proxyd.cli.tables import render

_VIEWS: Final = (
    ("status", "the daemon at a glance", "nothing"),
    ("services", "the configured services", "no services are configured"),
    ("pools", "upstream connections", "no pools: nothing has been sent yet"),
    ("endpoints", "where services are reached, and whether it is used", "no services are configured"),
    ("workers", "the workers: processes, connections, memory, CPU", "no workers"),
    ("memory", "memory of all processes and what is kept in it", "nothing"),
    ("tokens", "tokens of issuers: how they are, when they end, what failed", "no service has tokens of an issuer"),
)


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    for name, text, empty in _VIEWS:
        show = command(commands, name, text, _show)
        show.set_defaults(method=name, empty=empty)
        json_option(show)
        if name == "services":
            show.set_defaults(function=_services)
            show.add_argument(
                "--catalogue", action="store_true", help="those that proxyd knows, for `use`; no daemon is asked"
            )
            show.add_argument("--all", action="store_true", help="with --catalogue: those outside its categories, too")
    service = command(commands, "service", "one service in detail", _service)
    service.add_argument("name", metavar="NAME", help="the service")
    json_option(service)
    json_option(command(commands, "config", "the configuration in use as JSON, secrets as names", _show_config))


def _show(arguments: argparse.Namespace) -> int:
    value = call(arguments, arguments.method)
    if arguments.json:
        return print_json(value)
    print(render(value, arguments.empty), end="")
    return OK


def _services(arguments: argparse.Namespace) -> int:
    if not arguments.catalogue:
        if arguments.all:
            raise CommandError("services: --all goes with --catalogue", USAGE)
        return _show(arguments)
    from proxyd.cli.catalogue import catalogue

    return catalogue(everything=arguments.all, as_json=arguments.json)


def _service(arguments: argparse.Namespace) -> int:
    value: dict[str, Any] = call(arguments, "service", arguments.name)
    if arguments.json:
        return print_json(value)
    errors = value.get("latest_errors")
    if isinstance(errors, list) and errors:
        value["latest_errors"] = rows(errors)
    print(render(value), end="")
    return OK


def _show_config(arguments: argparse.Namespace) -> int:
    return print_json(call(arguments, "config"))  # too deep for a table
