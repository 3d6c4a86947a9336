"""Where the vault's key comes from.

Where the configuration names a place, that one alone counts. Otherwise these are tried in order, and the first that
fits the vault is used: the systemd credential ``proxyd-vault-key``, the file ``key`` in the vault's folder, the
variable PROXYD_VAULT_KEY, the variable PROXYD_VAULT_PASSPHRASE, the place that the vault itself remembers, a question
on the terminal. A new vault takes the first that is there; when there is none, the file ``key`` is made.

A key is 32 bytes: 64 hexadecimal digits, base64, or the bytes themselves. Variables are removed from the environment
once they are read, and remembered here.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyd.core.settings import VaultKey
from proxyd.core.units import KIB
from proxyd.vault import files
from proxyd.vault.cipher import KEY_BYTES, Scrypt, key_id
from proxyd.vault.errors import VaultError, WrongKey
from proxyd.vault.image import KeyInfo

CREDENTIAL: Final = "proxyd-vault-key"
KEY_VARIABLE: Final = "PROXYD_VAULT_KEY"
PASSPHRASE_VARIABLE: Final = "PROXYD_VAULT_PASSPHRASE"  # noqa: S105 - a name
KEY_FILE: Final = "key"
SHORTEST_PASSPHRASE: Final = 8

_CREDENTIALS_FOLDER: Final = "CREDENTIALS_DIRECTORY"
_MAX_FILE: Final = 4 * KIB
_SALT_BYTES: Final = 16
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")

Ask = Callable[[str], bytes]
"""Returns what a person types to a question, without showing it."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key at hand."""

    kind: str
    place: str
    material: bytes
    salt: bytes = b""
    scrypt: Scrypt | None = None

    def __repr__(self) -> str:
        return f"<Key {self.kind} {self.place}>"

    def info(self, vault: bytes) -> KeyInfo:
        """Return what a vault says of it."""
        work = self.scrypt or Scrypt(0, 0, 0)
        return KeyInfo(self.kind, self.place, key_id(self.material, vault), self.salt, work.n, work.r, work.p)


@dataclass(frozen=True, slots=True, repr=False)
class NewKey:
    """A key that is to take the former one's place."""

    kind: str
    """As image.KINDS."""
    place: str
    material: bytes = b""
    """The key or passphrase; empty for a file: it is read, or made where there is none."""

    def __repr__(self) -> str:
        return f"<NewKey {self.kind} {self.place}>"


class Keyring:
    """Finds the key of the vault in ``folder``; knows it from then on."""

    def __init__(
        self, folder: Path, wanted: VaultKey, environment: MutableMapping[str, str], ask: Ask | None = None
    ) -> None:
        self.own_file = folder / KEY_FILE
        self._wanted = wanted
        self._environment = environment
        self._ask = ask
        self._variables: dict[str, bytes] = {}
        self._known: Key | None = None

    @property
    def variables(self) -> list[str]:
        """Names of the environment variables that a key was read from."""
        return list(self._variables)

    def unlock(self, info: KeyInfo, vault: bytes) -> Key:
        """Return the key that a vault was sealed with. WrongKey: it is not at hand."""
        if self._known is not None and key_id(self._known.material, vault) == info.id:
            return self._known
        problems: list[str] = []
        for find in self._places(info):
            try:
                key = find()
            except VaultError as error:
                problems.append(str(error))
                continue
            if key is not None and key_id(key.material, vault) == info.id:
                self._known = key
                return key
        raise self._wrong(info, problems)

    def begin(self) -> Key:
        """Return the key for a new vault; the file ``key`` is made where nothing else is there. VaultError."""
        for find in self._places(None):
            key = find()
            if key is not None:
                self._known = key
                return key
        if self._wanted != VaultKey():
            raise VaultError(f"the vault's key is missing: {self._title()} is not there; {_how_to_make(self._wanted)}")
        self._known = Key("file", str(self.own_file), self._make_file(self.own_file))
        return self._known

    def change(self, former: Key, new: NewKey | None) -> Key:
        """Return the key that takes ``former``'s place; a new one for a file stands beside it until ``settle``."""
        if new is None:
            if former.kind != "file":
                return former
            return Key("file", former.place, self._make_file(_next(Path(former.place))))
        if new.kind == "passphrase":
            return from_passphrase(new.material, new.place, os.urandom(_SALT_BYTES), Scrypt())
        if new.kind == "file":
            path = Path(new.place)
            key = _from_file(path)
            return key or Key("file", str(path), self._make_file(path))
        return Key(new.kind, new.place, parse_key(new.material, "the new key"))

    def settle(self, info: KeyInfo, vault: bytes) -> None:
        """Finish what a change of keys began, whoever began it; called by the holder of the lock."""
        for path in {self.own_file, *([Path(info.place)] if info.kind == "file" else [])}:
            following = _next(path)
            data = files.read(following, _MAX_FILE)
            if data is None:
                continue
            if key_id(parse_key(data, str(following)), vault) == info.id:
                following.replace(path)
                files.sync(path.parent)
            else:
                files.remove(following)

    def know(self, key: Key, former: Key) -> None:
        """Use ``key`` from now on; the file that proxyd made for the former one goes, unless it is the new one's."""
        self._known = key
        if former.kind == "file" and Path(former.place) == self.own_file != Path(key.place):
            files.remove(self.own_file)

    # --- places -----------------------------------------------------------------------------------

    def _places(self, info: KeyInfo | None) -> Iterator[Callable[[], Key | None]]:
        """Yield finders; ``info`` None: of a new vault's key."""
        wanted = self._wanted
        if wanted.key_file:
            yield from self._files(Path(wanted.key_file), info)
        elif wanted.env:
            yield lambda: self._from_variable(wanted.env)
        elif wanted.credential:
            yield lambda: self._from_credential(wanted.credential)
        elif wanted.passphrase_env:
            yield lambda: self._from_passphrase(wanted.passphrase_env, info)
            if info is not None:
                yield lambda: self._from_question(info)
        else:
            yield lambda: self._from_credential(CREDENTIAL)
            yield from self._files(self.own_file, info)
            yield lambda: self._from_variable(KEY_VARIABLE)
            yield lambda: self._from_passphrase(PASSPHRASE_VARIABLE, info)
            if info is not None:
                yield from self._remembered(info)
                yield lambda: self._from_question(info)

    def _remembered(self, info: KeyInfo) -> Iterator[Callable[[], Key | None]]:
        if info.kind == "file":
            yield from self._files(Path(info.place), info)
        elif info.kind == "env":
            yield lambda: self._from_variable(info.place)
        elif info.kind == "credential":
            yield lambda: self._from_credential(info.place)
        elif info.place:
            yield lambda: self._from_passphrase(info.place, info)

    def _files(self, path: Path, info: KeyInfo | None) -> Iterator[Callable[[], Key | None]]:
        yield lambda: _from_file(path)
        if info is not None:
            yield lambda: _from_file(_next(path), path)

    def _from_credential(self, name: str) -> Key | None:
        folder = self._environment.get(_CREDENTIALS_FOLDER, "")
        if not folder or not _NAME.fullmatch(name):
            return None
        path = Path(folder, name)
        data = files.read(path, _MAX_FILE, private=False, follow=True)  # systemd's own modes and ACLs
        return Key("credential", name, parse_key(data, str(path))) if data is not None else None

    def _from_variable(self, name: str) -> Key | None:
        value = self._variable(name)
        return Key("env", name, parse_key(value, f"the environment variable {name}")) if value is not None else None

    def _from_passphrase(self, name: str, info: KeyInfo | None) -> Key | None:
        if info is not None and info.kind != "passphrase":
            return None
        value = self._variable(name)
        return _derived(value, name, info) if value is not None else None

    def _from_question(self, info: KeyInfo) -> Key | None:
        if info.kind != "passphrase" or self._ask is None:
            return None
        return _derived(self._ask("Passphrase of the vault: "), info.place, info)

    def _variable(self, name: str) -> bytes | None:
        value = self._environment.pop(name, None)
        if value is not None:
            self._variables[name] = os.fsencode(value)
        return self._variables.get(name)

    # --- parts ------------------------------------------------------------------------------------

    def _make_file(self, path: Path) -> bytes:
        material = os.urandom(KEY_BYTES)
        try:
            files.replace(path, material.hex().encode("ascii") + b"\n")
        except OSError as error:
            raise files.unusable(path, error) from None
        return material

    def _title(self) -> str:
        wanted = self._wanted
        if wanted.key_file:
            return f"key file {wanted.key_file}"
        if wanted.credential:
            return f"systemd credential {wanted.credential}"
        return f"environment variable {wanted.env or wanted.passphrase_env}"

    def _wrong(self, info: KeyInfo, problems: list[str]) -> WrongKey:
        text = f"the vault was sealed with the {info.title}, "
        if self._wanted != VaultKey():
            text += f"and the {self._title()} that the configuration names (vault:) does not fit"
        else:
            text += "and no key that is at hand fits"
        if problems:
            text += f" ({'; '.join(problems)})"
        return WrongKey(f"{text}; bring that key back, or see the recovery guide: without it the vault cannot be read")


def parse_key(data: bytes, where: str) -> bytes:
    """Return the 32 bytes that a key's text stands for. VaultError."""
    if len(data) == KEY_BYTES:
        return data
    text = data.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text.decode("ascii"))
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error:
        decoded = b""
    if len(decoded) != KEY_BYTES:
        raise VaultError(
            f"{where} holds no key (64 hexadecimal digits, or the base64 of 32 bytes); make one with: "
            "openssl rand -hex 32"
        )
    return decoded


def from_passphrase(passphrase: bytes, place: str, salt: bytes, work: Scrypt) -> Key:
    """Return the key that a new passphrase stands for. VaultError: it is too short."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise VaultError(f"the passphrase is shorter than {SHORTEST_PASSPHRASE} bytes; choose a longer one")
    return Key("passphrase", place, work.derive(passphrase, salt), salt, work)


def _derived(passphrase: bytes, place: str, info: KeyInfo | None) -> Key:
    if info is None:
        return from_passphrase(passphrase, place, os.urandom(_SALT_BYTES), Scrypt())
    return Key("passphrase", place, info.scrypt.derive(passphrase, info.salt), info.salt, info.scrypt)


def _from_file(path: Path, place: Path | None = None) -> Key | None:
    data = files.read(path, _MAX_FILE, follow=True)
    return Key("file", str(place or path), parse_key(data, str(path))) if data is not None else None


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _how_to_make(wanted: VaultKey) -> str:
    if wanted.key_file:
        return f"make it with: (umask 077; openssl rand -hex 32 > {wanted.key_file})"
    if wanted.passphrase_env:
        return "set it to a passphrase"
    return "put there what this prints: openssl rand -hex 32"
