"""Commands of the daemon's life: run, check, reload, stop."""

import argparse
import sys

from proxyd.cli.context import call, print_json, runtime_dir, state_dir
from proxyd.cli.exits import FAILURE, OK
from proxyd.cli.parser import Commands, command, config_option, folder_options, json_option
from proxyd.cli.tables import printable


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    run = command(commands, "run", "run the daemon in the foreground", _run)
    config_option(run, "without it: a forward proxy on 127.0.0.1:3128")
    folder_options(run)
    check = command(commands, "check", "report every mistake of a configuration file", _check)
    config_option(check, "without it: the embedded default")
    folder_options(check)
    json_option(check)
    json_option(command(commands, "reload", "read the configuration again, as SIGHUP does", _reload))
    json_option(command(commands, "stop", "drain and end the daemon", _stop))


def _run(arguments: argparse.Namespace) -> int:
    from proxyd.cli.run import run

    return run(arguments.config, state_dir(arguments), runtime_dir(arguments), arguments.admin)


def _check(arguments: argparse.Namespace) -> int:
    from proxyd.cli.check import check

    return check(arguments.config, state_dir(arguments), runtime_dir(arguments), arguments.json)


def _reload(arguments: argparse.Namespace) -> int:
    answer = call(arguments, "reload")
    accepted = bool(answer["ok"])
    if arguments.json:
        print_json(answer)
        return OK if accepted else FAILURE
    for problem in answer["problems"]:
        print(printable(str(problem)), file=sys.stderr)
    if accepted:
        print(f"reloaded: version {answer['version']} is in use")
        return OK
    print(f"refused: version {answer['version']} stays in use", file=sys.stderr)
    return FAILURE


def _stop(arguments: argparse.Namespace) -> int:
    answer = call(arguments, "stop")
    if arguments.json:
        return print_json(answer)
    print("stopping: connections are drained")
    return OK
