"""``proxyd connect``: consent of a person for a service."""

import argparse
import sys

from proxyd.cli.commands.secret import place_of
from proxyd.cli.context import json_text, runtime_dir
from proxyd.cli.exits import OK, USAGE, CommandError
from proxyd.cli.parser import Commands, command, config_option, folder_options, json_option
from proxyd.cli.tables import printable


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "connect", "have a service's consent and keep its refresh token in the vault", _connect)
    parser.description = (
        "Shows an address, and a code to type in there (RFC 8628), or waits for a browser to come back to this machine "
        "(authorization code with PKCE); what the vendor then gives is stored in the vault. Client ID and secret are "
        "taken from the vault, or asked for."
    )
    parser.add_argument("service", metavar="SERVICE", help="a service of the configuration")
    parser.add_argument("--browser", action="store_true", help="by a browser of this machine, where codes would do too")
    parser.add_argument("--open", action="store_true", help="start the browser")
    parser.add_argument("--port", metavar="PORT", type=int, default=0, help="the port that the browser comes back to")
    parser.add_argument("--client-id", metavar="ID", default="", help="the client ID, which is stored too")
    config_option(parser, "without it: the running daemon's, or proxyd.yaml here")
    folder_options(parser)
    json_option(parser, "print two lines of JSON: what is to be opened, and what was stored")


def _connect(arguments: argparse.Namespace) -> int:
    from proxyd.cli.connect import How, connect

    if not 0 <= arguments.port <= 65535:
        raise CommandError(f"--port {arguments.port}: not a number from 1 to 65535", USAGE)
    how = How(arguments.browser, arguments.port, arguments.open, arguments.client_id, arguments.json)
    answer = connect(place_of(arguments), runtime_dir(arguments), arguments.service, how)
    if arguments.json:
        print(json_text(answer, None))
        return OK
    stored = ", ".join(answer["stored"])
    print(printable(f"connected: {answer['service']}; stored: {stored}"))
    if answer["scope"]:
        print(printable(f"granted: {answer['scope']}"))
    for problem in answer["problems"]:
        print(f"proxyd: {printable(str(problem))}", file=sys.stderr)
    return OK
