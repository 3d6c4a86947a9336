"""Commands of daily use: init."""

import argparse
import os
from pathlib import Path

from proxyd.cli.parser import Commands, command, json_option


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    init = command(commands, "init", "write a commented configuration for the credentials found here", _init)
    init.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("proxyd.yaml"), help="the file to write"
    )
    init.add_argument("--force", action="store_true", help="replace a file that exists")
    init.add_argument("--stdout", action="store_true", help="print it, write nothing")
    json_option(init)


def _init(arguments: argparse.Namespace) -> int:
    from proxyd.cli.init import init

    return init(
        arguments.output,
        os.environ,
        Path.home(),
        force=arguments.force,
        stdout=arguments.stdout,
        as_json=arguments.json,
    )
