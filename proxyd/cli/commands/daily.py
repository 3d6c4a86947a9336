"""Commands of daily use: init and doctor."""

import argparse
import os
from pathlib import Path

from proxyd.cli.context import admin_socket, runtime_dir, state_dir
from proxyd.cli.exits import USAGE, CommandError
from proxyd.cli.parser import Commands, command, config_option, folder_options, json_option


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    init = command(commands, "init", "write a commented configuration for the credentials found here", _init)
    init.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("proxyd.yaml"), help="the file to write"
    )
    init.add_argument("--force", action="store_true", help="replace a file that exists")
    init.add_argument("--stdout", action="store_true", help="print it, write nothing")
    json_option(init)
    doctor = command(commands, "doctor", "what does not work on this machine, and what to do", _doctor)
    config_option(doctor, "without it: the running daemon's, or proxyd.yaml here")
    doctor.add_argument("--runtime", metavar="NAME", default="", help="test this runtime alone, such as curl or node")
    folder_options(doctor)
    json_option(doctor)


def _init(arguments: argparse.Namespace) -> int:
    from proxyd.cli.init import init

    return init(
        arguments.output,
        os.environ,
        Path(os.path.expanduser("~")),  # which stays as it is, and names no folder, for a user without a home
        force=arguments.force,
        stdout=arguments.stdout,
        as_json=arguments.json,
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from proxyd.cli.doctor.command import Words, doctor
    from proxyd.cli.doctor.runtimes import FAMILIES

    if arguments.runtime and arguments.runtime not in FAMILIES:
        raise CommandError(f"doctor: no runtime {arguments.runtime} is known; known: {', '.join(FAMILIES)}", USAGE)
    socket, explicit = admin_socket(arguments)
    return doctor(
        Words(
            config=arguments.config,
            admin=socket,
            explicit=explicit,
            state=state_dir(arguments),
            runtime=runtime_dir(arguments),
            only=arguments.runtime,
            as_json=arguments.json,
        )
    )
