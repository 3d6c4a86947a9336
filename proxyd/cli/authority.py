"""``proxyd ca``: the certificate that clients must trust, shown and put into the system's store."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyd.cli import rpc
from proxyd.cli.exits import FAILURE, OK, CommandError

STORED_NAME: Final = "proxyd-local-ca.crt"
UPDATE_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Store:
    """A system's store of trusted roots, as Debian keeps it."""

    folder: Path = Path("/usr/local/share/ca-certificates")
    update: tuple[str, ...] = ("update-ca-certificates",)
    needs_root: bool = True

    @property
    def path(self) -> Path:
        """Where our root stands in it."""
        return self.folder / STORED_NAME


def root_pem(admin: Path, state: Path, explicit: bool) -> str:
    """Return the root: the running daemon's, or the one in the state folder, which is made if there is none."""
    try:
        return str(rpc.call(admin, "ca", any_owner=explicit)["pem"])
    except rpc.Unreachable:
        if explicit:
            raise
    from cryptography.hazmat.primitives.serialization import Encoding

    from proxyd.certs.root import AuthorityError, open_root
    from proxyd.vault.compartment import Compartment
    from proxyd.vault.errors import VaultError
    from proxyd.vault.store import Vault

    try:
        return open_root(state, Compartment(Vault(state))).certificate.public_bytes(Encoding.PEM).decode()
    except (AuthorityError, VaultError) as error:
        raise CommandError(str(error)) from None


def install(pem: str, store: Store) -> int:
    """Put ``pem`` into the store; without the right to do so, say how."""
    if not store.folder.is_dir():
        raise CommandError(
            f"{store.folder} does not exist: this is not a Debian-like system, or ca-certificates is not installed. "
            "'proxyd ca export' prints the certificate for whatever store there is."
        )
    if store.needs_root and os.geteuid() != 0:
        print("The system's store is root's. Run:\n", file=sys.stderr)
        print(
            f"  proxyd ca export | sudo tee {store.path} >/dev/null && sudo {' '.join(store.update)}\n", file=sys.stderr
        )
        print("or leave it as it is: 'proxyd exec -- COMMAND' needs no store.", file=sys.stderr)
        return FAILURE
    try:
        store.path.write_text(pem)
        store.path.chmod(0o644)
    except OSError as error:
        raise CommandError(f"{store.path}: {error.strerror}") from None
    _update(store)
    print(f"Installed {store.path}. Programs that read the system's roots trust proxyd from their next start.")
    return OK


def uninstall(store: Store) -> int:
    """Take our root out of the store; it is no error that there is none."""
    if not store.path.exists():
        print(f"{store.path} does not exist: nothing to do.")
        return OK
    if store.needs_root and os.geteuid() != 0:
        print("The system's store is root's. Run:\n", file=sys.stderr)
        print(f"  sudo rm {store.path} && sudo {' '.join(store.update)} --fresh", file=sys.stderr)
        return FAILURE
    try:
        store.path.unlink()
    except OSError as error:
        raise CommandError(f"{store.path}: {error.strerror}") from None
    _update(store, "--fresh")
    print(f"Removed {store.path}.")
    return OK


def _update(store: Store, *options: str) -> None:
    try:
        done = subprocess.run(
            [*store.update, *options], capture_output=True, text=True, timeout=UPDATE_SECONDS, check=False
        )
    except (FileNotFoundError, PermissionError):  # a folder on PATH that may not be entered denies permission to any
        raise CommandError(
            f"{store.update[0]} is not installed, or may not be run; install the package ca-certificates"
        ) from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"{store.update[0]} did not end in {UPDATE_SECONDS} s") from None
    if done.returncode:
        raise CommandError(f"{store.update[0]} ended with {done.returncode}: {done.stderr.strip()}")
