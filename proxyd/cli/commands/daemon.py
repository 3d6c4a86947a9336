"""Commands of the daemon's life: run, check, reload, drain, stop, log-level."""

import argparse
import sys
from typing import Final

from proxyd.cli.context import call, print_json, runtime_dir, state_dir
from proxyd.cli.exits import FAILURE, OK
from proxyd.cli.parser import Commands, command, config_option, folder_options, json_option
from proxyd.cli.tables import cell, printable

LEVELS: Final = ("debug", "info", "warning", "error")


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
    drain = command(commands, "drain", "stop accepting connections until the next reload, or end", _drain)
    drain.add_argument("--exit", action="store_true", help="end when what runs has finished")
    drain.add_argument(
        "--seconds", metavar="S", type=float, help="how long what runs may still take (default: drain_timeout)"
    )
    json_option(drain)
    level = command(commands, "log-level", "print or set the level of the daemon's log", _log_level)
    level.add_argument("level", nargs="?", choices=LEVELS, help="the level to use from now on")
    json_option(level)
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


def _drain(arguments: argparse.Namespace) -> int:
    wanted: dict[str, object] = {"exit": arguments.exit}
    if arguments.seconds is not None:
        wanted["seconds"] = arguments.seconds
    answer = call(arguments, "drain", wanted)
    if arguments.json:
        return print_json(answer)
    within = cell("within_seconds", answer.get("seconds"))
    if answer.get("exit"):
        print(f"draining: the daemon ends when what runs has finished, within {within}")
    else:
        print(f"drained: no connections are accepted, what runs has {within}; 'proxyd reload' accepts again")
    return OK


def _log_level(arguments: argparse.Namespace) -> int:
    answer = call(arguments, "log_level", *([arguments.level] if arguments.level else []))
    if arguments.json:
        return print_json(answer)
    print(cell("level", answer.get("level")))
    return OK


def _stop(arguments: argparse.Namespace) -> int:
    answer = call(arguments, "stop")
    if arguments.json:
        return print_json(answer)
    print("stopping: connections are drained")
    return OK
