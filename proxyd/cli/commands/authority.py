"""``proxyd ca``: the certificate that clients must trust."""

import argparse

from proxyd.cli.context import admin_socket, state_dir
from proxyd.cli.exits import OK
from proxyd.cli.parser import Commands, command, config_option, folder_options, group


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    verbs = group(commands, "ca", "the certificate that clients must trust")
    folder_options(command(verbs, "export", "print it as PEM", _export))
    folder_options(command(verbs, "install", "put it into the system's store (Debian)", _install))
    folder_options(command(verbs, "uninstall", "take it out of the system's store", _uninstall))
    renew = command(verbs, "renew", "forget the local CA; the daemon makes a new one when it starts next", _renew)
    config_option(renew, "where the vault's key is; without it: the usual places")
    folder_options(renew)


def _renew(arguments: argparse.Namespace) -> int:
    from proxyd.cli.secret import Place, renew_root

    socket, explicit = admin_socket(arguments)
    if renew_root(Place(socket, explicit, state_dir(arguments), True, arguments.config)):
        print("The local CA is forgotten. Start proxyd again for a new one, and install that: proxyd ca install")
    else:
        print("There is no local CA: proxyd makes one when it starts.")
    return OK


def _export(arguments: argparse.Namespace) -> int:
    print(_root_pem(arguments), end="")
    return OK


def _install(arguments: argparse.Namespace) -> int:
    from proxyd.cli.authority import Store, install

    return install(_root_pem(arguments), Store())


def _uninstall(arguments: argparse.Namespace) -> int:
    from proxyd.cli.authority import Store, uninstall

    return uninstall(Store())


def _root_pem(arguments: argparse.Namespace) -> str:
    from proxyd.cli.authority import root_pem

    socket, explicit = admin_socket(arguments)
    return root_pem(socket, state_dir(arguments), explicit)
