"""``proxyd test``: whether services take their credentials."""

import argparse

from proxyd.cli.context import admin_socket, runtime_dir, state_dir
from proxyd.cli.exits import USAGE, CommandError
from proxyd.cli.parser import Commands, command, config_option, folder_options, json_option


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "test", "ask services through proxyd whether they take their credentials", _test)
    parser.description = (
        "Sends each service the request without consequences that its definition names, through a listener of the "
        "daemon, and says which step fails: DNS, TCP, TLS, certificate, credential, scope, limit, version. Returns 1 "
        "when a service fails."
    )
    parser.add_argument("service", metavar="SERVICE", nargs="*", help="a service of the configuration")
    parser.add_argument("--all", action="store_true", help="all of them")
    config_option(parser, "a daemon of its own is run with it; without, the running one is asked")
    folder_options(parser)
    json_option(parser, "print a JSON list: service, outcome, step, words, what_to_do, status, timings_ms and more")


def _test(arguments: argparse.Namespace) -> int:
    if bool(arguments.service) == arguments.all:
        raise CommandError("test: name services, or give --all", USAGE)
    from proxyd.cli.probe.command import private_daemon, test

    names, how = arguments.service, {"everything": arguments.all, "as_json": arguments.json}
    if arguments.config is not None:
        with private_daemon(arguments.config, state_dir(arguments), runtime_dir(arguments)) as admin:
            return test(admin, True, names, **how)
    return test(*admin_socket(arguments), names, **how)
