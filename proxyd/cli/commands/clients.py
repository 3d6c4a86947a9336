"""Commands that take programs through proxyd: exec and env."""

import argparse
import os

from proxyd.cli.context import admin_socket, call, print_json, runtime_dir, state_dir
from proxyd.cli.exits import OK, USAGE, CommandError
from proxyd.cli.parser import Commands, command, config_option, folder_options, json_option


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    execute = command(commands, "exec", "run a command whose traffic goes through proxyd", _exec)
    config_option(execute, "start a private daemon with this configuration, for this command alone")
    folder_options(execute)
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD [ARG ...]", help="the command")
    env = command(commands, "env", "print shell lines that send a shell's programs through proxyd", _env)
    folder_options(env)
    json_option(env)


def _exec(arguments: argparse.Namespace) -> int:
    from proxyd.cli.execute import execute

    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise CommandError("exec: no command; write it after --, such as: proxyd exec -- curl https://…", USAGE)
    if arguments.config is not None and arguments.admin:
        raise CommandError("exec: -c starts a private daemon, --admin names one that runs; choose one", USAGE)
    socket, explicit = admin_socket(arguments)
    return execute(
        words,
        config=arguments.config,
        admin=socket,
        explicit=explicit,
        state=state_dir(arguments),
        runtime=runtime_dir(arguments),
    )


def _env(arguments: argparse.Namespace) -> int:
    from proxyd.cli.clients import make_client
    from proxyd.cli.variables import client_variables, shell_exports

    client = make_client(call(arguments, "environment"), runtime_dir(arguments), os.environ)
    variables = client_variables(client, os.environ)
    if arguments.json:
        return print_json(variables)
    print(shell_exports(variables), end="")
    return OK
