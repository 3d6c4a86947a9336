"""What commands share: the admin socket that the words and the environment name, and the folders."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from proxyd.cli import paths, rpc
from proxyd.cli.exits import OK


def call(arguments: argparse.Namespace, method: str, *params: object) -> Any:
    """Make one admin call and return its result; CommandError."""
    socket, explicit = admin_socket(arguments)
    return rpc.call(socket, method, *params, any_owner=explicit)


def connect(arguments: argparse.Namespace) -> rpc.Connection:
    """Return a connection for several calls; CommandError."""
    socket, explicit = admin_socket(arguments)
    return rpc.Connection(socket, any_owner=explicit)


def admin_socket(arguments: argparse.Namespace) -> tuple[Path, bool]:
    """Return the admin socket, and whether somebody named it."""
    named = arguments.admin or os.environ.get("PROXYD_ADMIN", "")
    return (Path(named), True) if named else (paths.admin_socket(runtime_dir(arguments)), False)


def state_dir(arguments: argparse.Namespace) -> Path:
    """Return the state folder."""
    return getattr(arguments, "state_dir", None) or paths.state_dir(os.environ, os.geteuid())


def runtime_dir(arguments: argparse.Namespace) -> Path:
    """Return the runtime folder."""
    return getattr(arguments, "runtime_dir", None) or paths.runtime_dir(os.environ, os.geteuid())


def print_json(value: Any) -> int:
    """Print one JSON document and return the exit code of success."""
    print(json_text(value))
    return OK


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return JSON in printable ASCII; on one line without an indent."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, indent=indent, separators=separators).replace("\x7f", "\\u007f")
