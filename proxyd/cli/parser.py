"""What the parsers of all commands are made of."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction

Function = Callable[[argparse.Namespace], int]
"""Runs a command and returns its exit code; CommandError ends it with a message."""


def command(commands: Commands, name: str, text: str, function: Function) -> argparse.ArgumentParser:
    """Add one command and return its parser; ``text`` is its line in ``--help``."""
    parser = commands.add_parser(name, help=text, description=_sentence(text), allow_abbrev=False)
    parser.set_defaults(function=function)
    admin_option(parser, argparse.SUPPRESS)  # a default here would undo what stands before the command
    return parser


def group(commands: Commands, name: str, text: str, default: Function | None = None) -> Commands:
    """Add a command that has commands of its own, such as ``ca export``; return what they are added to.

    With ``default`` it does that without a verb, and takes ``--json``.
    """
    parser = commands.add_parser(name, help=text, description=_sentence(text), allow_abbrev=False)
    admin_option(parser, argparse.SUPPRESS)
    if default is not None:
        parser.set_defaults(function=default)
        json_option(parser)
    return parser.add_subparsers(metavar="VERB", required=default is None)


def admin_option(parser: argparse.ArgumentParser, default: str) -> None:
    """Let ``--admin SOCKET`` be given."""
    parser.add_argument("--admin", metavar="SOCKET", default=default, help="the daemon's admin socket")


def config_option(parser: argparse.ArgumentParser, text: str) -> None:
    """Let ``-c FILE`` be given; ``text`` says what happens without it."""
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help=f"the configuration file; {text}")


def folder_options(parser: argparse.ArgumentParser) -> None:
    """Let the state and runtime folders be given."""
    parser.add_argument(
        "--state-dir", metavar="DIR", type=Path, help="what outlives a restart: the vault and the local CA"
    )
    parser.add_argument("--runtime-dir", metavar="DIR", type=Path, help="sockets")


def json_option(parser: argparse.ArgumentParser, text: str = "print one JSON document") -> None:
    """Let ``--json`` be given."""
    parser.add_argument("--json", action="store_true", help=text)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
