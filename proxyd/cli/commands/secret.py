"""``proxyd secret``: the vault."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyd.cli.context import admin_socket, print_json, state_dir
from proxyd.cli.exits import OK
from proxyd.cli.parser import Commands, command, config_option, folder_options, group, json_option
from proxyd.cli.tables import cell, printable, render

if TYPE_CHECKING:
    from proxyd.cli.secret import Place

_DAEMON = "where the vault's key is, when no daemon runs; without it: the usual places"


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    verbs = group(commands, "secret", "the vault: secrets that services need, encrypted at rest")
    _verb(verbs, "set", "store a secret; the value comes by standard input or a prompt", _set, named=True)
    rotate = _verb(verbs, "rotate", "store a new version; the former one counts for a while", _rotate, named=True)
    rotate.add_argument(
        "--overlap", metavar="DURATION", help="how long proxy users may still use the former value (default: 24h)"
    )
    _verb(verbs, "list", "names, versions, ages and last use; never a value", _list)
    _verb(verbs, "rm", "forget a secret; what uses it ends within drain_old", _remove, named=True)
    rekey = _verb(verbs, "rekey", "seal the vault anew, with a new key", _rekey)
    place = rekey.add_mutually_exclusive_group()
    place.add_argument("--key-file", metavar="FILE", type=Path, help="keep the key in FILE, made if there is none")
    place.add_argument("--env", metavar="NAME", help="take the key from this variable, which holds it now")
    place.add_argument("--credential", metavar="NAME", help="take it from a systemd credential; here: standard input")
    place.add_argument(
        "--passphrase", action="store_true", help="use a passphrase (standard input or prompt) from now on"
    )
    rekey.add_argument("--accept", action="store_true", help="accept an older vault that was put back on purpose")
    backup = _verb(verbs, "backup", "write a backup, encrypted, the local CA included", _backup)
    backup.add_argument("file", metavar="FILE", type=Path)
    backup.add_argument(
        "--passphrase", action="store_true", help="seal it with a passphrase (standard input or prompt)"
    )
    restore = _verb(verbs, "restore", "put a backup in the place of what the vault holds", _restore)
    restore.add_argument("file", metavar="FILE", type=Path)
    restore.add_argument("--key-file", metavar="FILE", type=Path, help="the key that the backup was sealed with")
    restore.add_argument("--replace", action="store_true", help="give up the secrets that the vault holds")


def _verb(verbs: Commands, name: str, text: str, function: Any, *, named: bool = False) -> argparse.ArgumentParser:
    parser = command(verbs, name, text, function)
    if named:
        parser.add_argument("name", metavar="NAME", help="the secret's name, as services write it")
    config_option(parser, _DAEMON)
    folder_options(parser)
    json_option(parser)
    return parser


def _set(arguments: argparse.Namespace) -> int:
    from proxyd.cli import secret

    answer = secret.set_value(place_of(arguments), arguments.name)
    return _tell(arguments, answer, f"stored: {arguments.name}, version {answer['version']}")


def _rotate(arguments: argparse.Namespace) -> int:
    from proxyd.cli import secret

    overlap = secret.duration(arguments.overlap) if arguments.overlap is not None else None
    answer = secret.rotate(place_of(arguments), arguments.name, overlap)
    until = cell("overlap_seconds", answer["overlap_seconds"])
    text = f"rotated: {arguments.name}, version {answer['version']}; the former one counts for {until}"
    return _tell(arguments, answer, text)


def _list(arguments: argparse.Namespace) -> int:
    from proxyd.cli import secret

    rows = secret.listing(place_of(arguments))
    if arguments.json:
        return print_json(rows)
    table = [
        {
            "name": row["name"],
            "version": row["version"],
            "versions": len(row["versions"]),
            "age_seconds": row["age_seconds"],
            **({"ends_seconds": row["ends_seconds"], "state": row["state"]} if "state" in row else {}),
            "last_used": row["last_used"],
            **({"used_by": row["used_by"]} if "used_by" in row else {}),
        }
        for row in rows
    ]
    print(render(table, "the vault holds no secrets"), end="")
    return OK


def _remove(arguments: argparse.Namespace) -> int:
    from proxyd.cli import secret

    answer = secret.remove(place_of(arguments), arguments.name)
    return _tell(arguments, answer, f"removed: {arguments.name}")


def _rekey(arguments: argparse.Namespace) -> int:
    from proxyd.cli import secret

    new = None
    if arguments.key_file:
        new = {"kind": "file", "place": str(arguments.key_file.absolute())}
    elif arguments.env:
        new = {"kind": "env", "place": arguments.env}
    elif arguments.credential:
        new = {"kind": "credential", "place": arguments.credential}
    elif arguments.passphrase:
        new = {"kind": "passphrase", "place": "PROXYD_VAULT_PASSPHRASE"}
    answer = secret.rekey(place_of(arguments), new, arguments.accept)
    return _tell(arguments, answer, f"sealed anew with the {answer['key']}")


def _backup(arguments: argparse.Namespace) -> int:
    from proxyd.cli import secret

    answer = secret.backup(place_of(arguments), arguments.file, arguments.passphrase)
    return _tell(arguments, answer, f"written: {answer['file']}, sealed with the {answer['key']}")


def _restore(arguments: argparse.Namespace) -> int:
    from proxyd.cli import secret

    answer = secret.restore(place_of(arguments), arguments.file, arguments.key_file, arguments.replace)
    text = f"restored: {answer['secrets']} secrets"
    if answer.get("ca_changed"):
        text += "; the local CA is another one now: start proxyd again"
    return _tell(arguments, answer, text)


def place_of(arguments: argparse.Namespace) -> "Place":
    """Return where the vault is."""
    from proxyd.cli.secret import Place

    socket, explicit = admin_socket(arguments)
    named = arguments.state_dir is not None
    return Place(socket, explicit, state_dir(arguments), named, getattr(arguments, "config", None))


def _tell(arguments: argparse.Namespace, answer: dict[str, Any], text: str) -> int:
    """Print what was done; what some worker has not taken yet goes to standard error."""
    if arguments.json:
        return print_json(answer)
    workers = answer["workers"]
    if workers is not None:
        text += f" (applied by {workers} {'worker' if workers == 1 else 'workers'})"
    print(printable(text))
    for problem in answer["problems"]:
        print(f"proxyd: {printable(str(problem))}", file=sys.stderr)
    return OK
