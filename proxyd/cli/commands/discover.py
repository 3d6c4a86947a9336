"""``proxyd discover``: services of the catalogue that traffic goes to and nobody has configured."""

import argparse

from proxyd.cli.context import call
from proxyd.cli.parser import Commands, command, json_option


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "discover", "propose services for hosts that were seen in traffic", _discover)
    parser.description = (
        "Looks the hosts that are no service, and were asked for since the daemon's control process started, up in the "
        "catalogue, and prints what a configuration would say of them."
    )
    json_option(parser, "print a JSON list: service, title, hosts, requests, tunnels, own_credentials, configuration")


def _discover(arguments: argparse.Namespace) -> int:
    from proxyd.cli.discover import discover

    return discover(call(arguments, "unknown_hosts"), as_json=arguments.json)
