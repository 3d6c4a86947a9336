"""The command line: which modules bring the commands, and what becomes of an error.

Nothing heavy is imported here or by a module of commands: ``status`` is to answer at once, so trio, pydantic and the
daemon's own packages come in where a command needs them.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import proxyd
from proxyd.cli.exits import BY_SIGNAL, FAILURE, CommandError
from proxyd.cli.parser import Commands, admin_option
from proxyd.cli.tables import printable

COMMANDS: Final = (
    "proxyd.cli.commands.daemon",
    "proxyd.cli.commands.daily",
    "proxyd.cli.commands.clients",
    "proxyd.cli.commands.authority",
    "proxyd.cli.commands.secret",
    "proxyd.cli.commands.connect",
    "proxyd.cli.commands.probe",
    "proxyd.cli.commands.discover",
    "proxyd.cli.commands.fault",
    "proxyd.cli.commands.accounts",
    "proxyd.cli.commands.views",
    "proxyd.cli.commands.certs",
    "proxyd.cli.commands.hold",
    "proxyd.cli.commands.exchanges",
    "proxyd.cli.commands.top",
    "proxyd.cli.commands.upgrade",
    "proxyd.cli.commands.calls",
    "proxyd.cli.commands.completion",
)
"""Modules of commands in the order of ``--help``; each has ``add(commands)``."""

EPILOG: Final = """\
exit codes:
  0  it is done
  1  it failed, or the daemon refused
  2  the command line or the configuration is wrong
  3  no daemon answers on the admin socket, or it ended while it was listened to
  130  interrupted (Ctrl-C)
  test returns 1 when a service fails
  doctor returns 1 when something fails, and 0 with warnings
  exec returns the command's own code, 128+N for signal N, 126 and 127 as shells do

environment:
  PROXYD_ADMIN  the admin socket, when --admin does not name it
"""

_SIGINT: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = build_parser().parse_args(words)
    try:
        code: int = arguments.function(arguments)
        sys.stdout.flush()
        return code
    except CommandError as error:
        print(f"proxyd: {_multiline(str(error))}", file=sys.stderr)
        return error.code
    except BrokenPipeError:  # such as `proxyd status | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILURE
    except KeyboardInterrupt:
        return BY_SIGNAL + _SIGINT


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="proxyd",
        description="A sidecar that carries an application's traffic to third-party services and adds credentials.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"proxyd {proxyd.__version__}")
    admin_option(parser, "")
    commands: Commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(name).add(commands)
    return parser


def _multiline(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))


if __name__ == "__main__":
    sys.exit(main())
