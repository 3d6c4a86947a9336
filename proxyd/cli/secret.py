"""``proxyd secret``: the vault, through the daemon that runs or in its files when none does.

Values come by standard input or by a prompt that does not echo, never on the command line, and are never shown again.
"""

import base64
import getpass
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from proxyd.cli import rpc
from proxyd.cli.exits import USAGE, CommandError
from proxyd.net.process import harden

if TYPE_CHECKING:
    from proxyd.core.settings import VaultKey
    from proxyd.vault.store import Vault

T = TypeVar("T")

MAX_INPUT: Final = 64 * 1024
MAX_UPLOAD: Final = 512 * 1024
"""A larger backup is restored without a daemon: its admin socket takes 1 MiB at most."""
MAX_BACKUP: Final = 16 * 1024 * 1024

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Place(NamedTuple):
    """Where the vault is. (No dataclass: importing those takes longer than the daemon's answer.)"""

    admin: Path
    """The admin socket of its daemon."""
    explicit: bool
    """Whether somebody named the socket."""
    state: Path
    state_explicit: bool
    """Whether somebody named the state folder: then its files are meant."""
    config: Path | None = None
    """The configuration that says where the key is, when there is no daemon."""


def set_value(place: Place, name: str) -> dict[str, Any]:
    """Store a secret's only version."""
    return store(place, name, read_value(f"Value of {name}: "))


def store(place: Place, name: str, value: bytes) -> dict[str, Any]:
    """Store ``value`` as the only version."""
    return _ask(place, "secret.set", {"name": name, "value": value}) or _done(
        {"name": name, "version": _with_vault(place, lambda vault: vault.set(name, value))}
    )


def rotate(place: Place, name: str, overlap: float | None) -> dict[str, Any]:
    """Store a new version; the former one counts for ``overlap`` seconds more."""
    from proxyd.vault.store import DEFAULT_OVERLAP

    seconds = DEFAULT_OVERLAP if overlap is None else overlap
    value = read_value(f"New value of {name}: ")
    return _ask(place, "secret.rotate", {"name": name, "value": value, "overlap": seconds}) or _done(
        {
            "name": name,
            "version": _with_vault(place, lambda vault: vault.rotate(name, value, seconds)),
            "overlap_seconds": seconds,
        }
    )


def remove(place: Place, name: str) -> dict[str, Any]:
    """Forget a secret."""

    def act(vault: "Vault") -> dict[str, Any]:
        vault.remove(name)
        return _done({"name": name})

    return _ask(place, "secret.rm", {"name": name}) or _with_vault(place, act)


def listing(place: Place) -> list[dict[str, Any]]:
    """Return a row for every secret in the vault."""
    from proxyd.vault.listing import row
    from proxyd.vault.usage import Usage

    rows = _ask(place, "secrets", {})
    if rows is not None:
        return [each for each in rows if each["source"] == "vault" and each["version"] is not None]

    def act(vault: "Vault") -> list[dict[str, Any]]:
        usage = Usage(place.state)
        usage.load()
        now = time.time()
        return [row(name, versions, usage.last(name), now) for name, versions in vault.listing().items()]

    return _with_vault(place, act)


def rekey(place: Place, new: dict[str, str] | None, accept: bool) -> dict[str, Any]:
    """Seal the vault anew, with ``new`` (kind and place) as its key where one is given."""
    from proxyd.vault.keys import NewKey

    material = _material(new) if new else b""
    if new:
        new = {**new, "material": base64.b64encode(material).decode("ascii")}
    answer = _ask(place, "secret.rekey", {"accept": accept, **(new or {})})
    if answer:
        return dict(answer)

    def act(vault: "Vault") -> dict[str, Any]:
        key = NewKey(new["kind"], new["place"], material) if new else None
        return _done({"key": vault.rekey(key, accept=accept).title})

    return _with_vault(place, act)


def backup(place: Place, file: Path, with_passphrase: bool) -> dict[str, Any]:
    """Write a backup to ``file`` (0600)."""
    from proxyd.vault import backup as backups
    from proxyd.vault import files, image
    from proxyd.vault.errors import VaultError

    try:
        former = files.read(file, MAX_BACKUP, private=False, follow=True)
    except VaultError as error:
        raise CommandError(str(error)) from None
    if former is not None and not former.startswith(image.MAGIC):
        raise CommandError(f"{file} exists and is no backup of a vault; name another file")
    passphrase = new_passphrase("Passphrase of the backup: ") if with_passphrase else None
    answer = _ask(place, "secret.backup", {"passphrase": passphrase})
    if answer:
        data = base64.b64decode(answer["data"])
    else:
        data = _with_vault(place, lambda vault: backups.backup(vault, passphrase))
    try:
        files.replace(file.absolute(), data, give=False)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    sealed = "passphrase" if with_passphrase else backups.key_of(data).title
    return _done({"file": str(file), "bytes": len(data), "key": sealed})


def restore(place: Place, file: Path, key_file: Path | None, replacing: bool) -> dict[str, Any]:
    """Put a backup in the place of what the vault holds."""
    from proxyd.vault import backup as backups
    from proxyd.vault import files
    from proxyd.vault.errors import VaultError
    from proxyd.vault.keys import parse_key

    try:
        data = files.read(file, MAX_BACKUP, private=False, follow=True)
        if data is None:
            raise CommandError(f"{file}: there is no such file")
        kind = backups.key_of(data).kind
        key = parse_key(_read_key(key_file), str(key_file)) if key_file else None
    except VaultError as error:
        raise CommandError(str(error)) from None
    passphrase = read_value("Passphrase of the backup: ") if kind == "passphrase" else None
    if len(data) <= MAX_UPLOAD or place.explicit:
        upload = {"data": base64.b64encode(data).decode("ascii"), "replace": replacing}
        answer = _ask(place, "secret.restore", {**upload, "passphrase": passphrase, "key": key})
        if answer:
            return dict(answer)

    def act(vault: "Vault") -> dict[str, Any]:
        count = backups.restore(vault, data, passphrase=passphrase, key=key, replacing=replacing)
        return _done({"secrets": count})

    return _with_vault(place, act)


def renew_root(place: Place) -> bool:
    """Take the local CA's root out of the vault: the next start makes a new one. False: there was none."""
    from proxyd.vault.compartment import Compartment

    return _with_vault(place, lambda vault: Compartment(vault).empty())


def open_vault(place: Place) -> "Vault":
    """Return the vault in the files of the state folder; its key may be asked for on the terminal."""
    from proxyd.vault.store import Vault

    return Vault(place.state, _wanted(place.config, place.state), ask=_ask_person if sys.stdin.isatty() else None)


# --- values -----------------------------------------------------------------------------------------


def read_value(prompt: str) -> bytes:
    """Return a value from standard input, one newline at its end dropped, or from a prompt on a terminal."""
    harden()
    if sys.stdin.isatty():
        return getpass.getpass(prompt).encode("utf-8", "surrogateescape")
    data = sys.stdin.buffer.read(MAX_INPUT + 3)
    value = data.removesuffix(b"\n")
    return value.removesuffix(b"\r") if len(value) != len(data) else value


def new_passphrase(prompt: str) -> bytes:
    """Return a passphrase, typed twice on a terminal."""
    first = read_value(prompt)
    if sys.stdin.isatty() and read_value("Once more: ") != first:
        raise CommandError("the two are not the same; nothing was changed")
    return first


def duration(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``15m``, ``12h``, ``7d``. CommandError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CommandError(f"--overlap {text}: not a duration; write one such as 90s, 15m, 12h or 7d", USAGE)
    return float(found[1]) * _UNITS[found[2]]


def _ask_person(prompt: str) -> bytes:
    return getpass.getpass(prompt).encode("utf-8", "surrogateescape")


def _material(new: dict[str, str]) -> bytes:
    """Return the new key: a passphrase that is typed, a variable's value, a credential on standard input."""
    if new["kind"] == "passphrase":
        return new_passphrase("New passphrase of the vault: ")
    if new["kind"] == "env":
        value = os.environb.get(os.fsencode(new["place"]))
        if value is None:
            raise CommandError(f"the environment variable {new['place']} is not set: it is to hold the new key")
        return value
    return read_value("New key: ") if new["kind"] == "credential" else b""


def _read_key(path: Path) -> bytes:
    from proxyd.vault import files
    from proxyd.vault.errors import VaultError

    data = files.read(path, MAX_INPUT, follow=True)
    if data is None:
        raise VaultError(f"{path}: there is no such file")
    return data


# --- daemon or files --------------------------------------------------------------------------------


def _ask(place: Place, method: str, params: dict[str, Any]) -> Any:
    """Return the daemon's answer; None: the files are meant.

    They are where the state folder was named and no daemon, and where none answers, unless it alone was named.
    """
    if place.state_explicit and not place.explicit:
        return None
    try:
        return rpc.call(place.admin, method, params, any_owner=place.explicit)
    except rpc.Unreachable:
        if place.explicit and not place.state_explicit:
            raise
        return None


def _with_vault(place: Place, act: Callable[["Vault"], T]) -> T:
    from proxyd.vault.errors import VaultError

    harden()
    try:
        return act(open_vault(place))
    except VaultError as error:
        raise CommandError(str(error)) from None


def _wanted(config: Path | None, state: Path) -> "VaultKey | None":
    if config is None:
        return None
    from proxyd.config.load import load
    from proxyd.reading.problems import ConfigError

    try:
        return load(config, state, state).vault_key
    except ConfigError as error:
        raise CommandError(str(error), USAGE) from None


def _done(fields: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, **fields, "workers": None, "problems": []}
