"""Commands that hold a breaker or an endpoint in a state: breaker, endpoint."""

import argparse
from typing import Any

from proxyd.cli.context import call, print_json
from proxyd.cli.exits import OK
from proxyd.cli.parser import Commands, command, json_option
from proxyd.cli.tables import printable


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    breaker = command(
        commands, "breaker", "hold a service's breaker open or closed until the daemon restarts", _breaker
    )
    breaker.add_argument("state", choices=("open", "close", "auto"), help="auto: let its policy decide again")
    breaker.add_argument("service", metavar="SERVICE", help="the service")
    breaker.add_argument("--endpoint", metavar="HOST:PORT", help="the breaker of one of several endpoints")
    json_option(breaker)
    endpoint = command(commands, "endpoint", "hold an endpoint up or down until the daemon restarts", _endpoint)
    endpoint.add_argument("state", choices=("up", "down", "auto"), help="auto: let checks decide again")
    endpoint.add_argument("service", metavar="SERVICE", help="the service")
    endpoint.add_argument("endpoint", metavar="HOST:PORT", help="its endpoint, as `proxyd endpoints` shows it")
    json_option(endpoint)


def _breaker(arguments: argparse.Namespace) -> int:
    state = {"close": "closed"}.get(arguments.state, arguments.state)
    return _show(arguments, call(arguments, "breaker", arguments.service, state, arguments.endpoint))


def _endpoint(arguments: argparse.Namespace) -> int:
    return _show(arguments, call(arguments, "endpoint", arguments.service, arguments.state, arguments.endpoint))


def _show(arguments: argparse.Namespace, result: dict[str, Any]) -> int:
    if arguments.json:
        return print_json(result)
    held = result.get("held")
    lines = held if isinstance(held, list) and held else ["nothing is held"]
    for line in lines:
        print(printable(str(line)))
    return OK
