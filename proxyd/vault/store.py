"""The vault: secrets at rest in ``STATE/vault/``, one file that is replaced as a whole.

``store`` is the file (proxyd.vault.image), ``key`` the key where no other place was chosen, ``lock`` is held by who
writes. ``STATE/vault.anchor`` remembers generation and authentication of the latest file.

A write goes: lock, read, new file synced and renamed over the old one, anchor likewise, answer. Killed anywhere, the
old file or the new one is there as a whole; what was answered is the new one. A reader takes the anchor first and then
the file, which therefore is never behind the anchor unless somebody put an older one back: that is refused. Both files
put back together are not noticed by a process that starts afterwards; one that runs remembers how far the vault was.
"""

import os
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxyd.core.settings import VaultKey
from proxyd.core.units import DAY, KIB
from proxyd.vault import cipher, files, image
from proxyd.vault.anchor import AnchorFile
from proxyd.vault.cipher import DataKeys
from proxyd.vault.errors import NoSuchSecret, VaultError
from proxyd.vault.forms import is_document
from proxyd.vault.image import Entry, Image, KeyInfo
from proxyd.vault.keys import Ask, Key, Keyring, NewKey

FOLDER: Final = "vault"
STORE: Final = "store"
ANCHOR: Final = "vault.anchor"
DEFAULT_OVERLAP: Final = DAY
LONGEST_OVERLAP: Final = 90 * DAY


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret, as it is told to people."""

    number: int
    created: float
    until: float
    """Unix time at which its overlap ends; 0: it is the current one."""


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """What the vault gives out for one name."""

    value: bytes
    former: tuple[bytes, ...] = ()
    """Values whose overlap lasts, newest first."""
    until: float = 0.0
    """Unix time at which the next overlap ends; 0: none lasts."""
    created: float = 0.0
    """Unix time at which the value was stored."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was read, authenticated and found to be the latest."""

    image: Image
    keys: DataKeys
    key: Key
    tag: bytes
    is_noted: bool = True
    """Whether the anchor knows of it: its writer may have been killed before."""


class Vault:
    """The vault of one state folder. Every method may block for the disk, or for another writer; VaultError."""

    def __init__(
        self,
        state_dir: Path,
        wanted: VaultKey | None = None,
        *,
        environment: MutableMapping[str, str] = os.environ,
        ask: Ask | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = state_dir.absolute() / FOLDER
        self.path = self.folder / STORE
        self.anchor = AnchorFile(state_dir.absolute() / ANCHOR, self.path)
        self.keyring = Keyring(self.folder, wanted or VaultKey(), environment, ask)
        self._clock = clock
        self._cached: tuple[tuple[int, ...], Opened] | None = None

    def __repr__(self) -> str:
        return f"<Vault {self.folder}>"

    # --- reading ----------------------------------------------------------------------------------

    def stamp(self) -> tuple[int, ...]:
        """Return what changes with every write; empty while there is no vault."""
        return files.stamp(self.path)

    def get(self, name: str) -> Held:
        """Return a secret's value, and the former ones that are still accepted. NoSuchSecret."""
        opened = self.open()
        if opened is None or opened.image.current(name) is None:
            raise NoSuchSecret(name, nearest(name, opened.image.names if opened else []))
        now = self._clock()
        current, former, until, created = b"", [], 0.0, 0.0
        for entry in reversed(opened.image.versions(name)):
            if not entry.until:
                current, created = self._value(opened, entry), entry.created
            elif entry.until > now:
                former.append(self._value(opened, entry))
                until = min(until or entry.until, entry.until)
        return Held(current, tuple(former), until, created)

    def listing(self) -> dict[str, list[Version]]:
        """Return the versions of every secret that are in use or in overlap, newest first, by name."""
        opened = self.open()
        if opened is None:
            return {}
        seen = opened.image.pruned(self._clock())
        return {
            name: [Version(entry.version, entry.created, entry.until) for entry in reversed(seen.versions(name))]
            for name in seen.names
        }

    def key_info(self) -> KeyInfo | None:
        """Return which key the vault is sealed with."""
        opened = self.open()
        return opened.image.key if opened else None

    def open(self) -> Opened | None:
        """Return the latest file; None: there is no vault yet."""
        mark = self.stamp()
        if mark and self._cached is not None and self._cached[0] == mark:
            return self._cached[1]
        try:
            opened = self._read()
        except VaultError:
            if not self.folder.is_dir():
                raise
            with files.locked(self.folder):  # a writer may have been between two of its files
                mark, opened = self.stamp(), self._read()
        self._cached = (mark, opened) if opened is not None else None
        return opened

    # --- writing ----------------------------------------------------------------------------------

    def set(self, name: str, value: bytes) -> int:
        """Make ``value`` the only version of a secret; return its number."""
        image.check_name(name)
        _check_value(name, value)
        with self._writing() as opened:
            former = opened.image.current(name)
            return self._put(opened, name, value, [], former.version + 1 if former else 1)

    def rotate(self, name: str, value: bytes, overlap: float = DEFAULT_OVERLAP) -> int:
        """Make ``value`` the current version; the former one is accepted for ``overlap`` seconds. NoSuchSecret."""
        image.check_name(name)
        _check_value(name, value)
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise VaultError(f"the overlap is longer than {LONGEST_OVERLAP / DAY:g} days, or negative; choose another")
        with self._writing() as opened:
            former = opened.image.current(name)
            if former is None:
                raise NoSuchSecret(name, nearest(name, opened.image.names))
            kept = opened.image.versions(name)[:-1]
            if overlap:
                kept.append(replace(former, until=self._clock() + overlap))
            if len(kept) >= image.MAX_VERSIONS:
                raise VaultError(
                    f"{name} has {len(kept)} versions whose overlap lasts, and no room for another; wait, or replace "
                    f"them all with: proxyd secret set {name}"
                )
            return self._put(opened, name, value, kept, former.version + 1)

    def remove(self, name: str) -> None:
        """Forget a secret with all its versions. NoSuchSecret."""
        image.check_name(name)
        self.discard(name)

    def discard(self, name: str) -> None:
        """Forget what ``add`` has put there. NoSuchSecret."""
        with self._writing() as opened:
            left = tuple(entry for entry in opened.image.entries if entry.name != name)
            if len(left) == len(opened.image.entries):
                raise NoSuchSecret(name, nearest(name, opened.image.names))
            self._write(replace(opened.image, entries=left), opened.keys, opened.key)

    def add(self, name: str, value: bytes) -> bytes:
        """Store what proxyd keeps for itself (names that begin with ``@``), unless it is there; return what counts."""
        with self._writing() as opened:
            present = opened.image.current(name)
            if present is not None:
                return self._value(opened, present)
            self._put(opened, name, value, [], 1)
            return value

    def rekey(self, new: NewKey | None = None, *, accept: bool = False) -> KeyInfo:
        """Seal everything anew, with a new data key and a new key; return which one.

        Without ``new`` a key file gets new content, and a key from elsewhere stays. ``accept``: take the file as the
        latest although the anchor is missing or says otherwise.
        """
        with self._writing(accept=accept) as opened:
            key = self.keyring.change(opened.key, new)
            fresh = DataKeys.fresh(opened.keys.anchor)
            sealed = tuple(self._sealed_anew(opened, entry, fresh, opened.image.id) for entry in opened.image.entries)
            latest = self.anchor.furthest(opened.image) if accept else opened.image.generation
            written = self._write(replace(opened.image, entries=sealed, generation=latest), fresh, key)
            self.keyring.settle(written.key, written.id)
            self.keyring.know(key, opened.key)
            return written.key

    def adopt(self, other: Image, keys: DataKeys, *, replacing: bool) -> int:
        """Take the entries of an opened backup in place of the own ones; return how many secrets they are.

        Without ``replacing`` secrets that the vault holds, or may hold, are not given up: VaultError.
        """
        with files.locked(self.folder):
            opened = self._replaceable(replacing)
            own = opened.image
            source = Opened(other, keys, opened.key, b"")
            sealed = tuple(self._sealed_anew(source, entry, opened.keys, own.id) for entry in other.entries)
            taken = {entry.name for entry in other.entries}
            internal = (
                entry for entry in own.entries if entry.name.startswith(image.INTERNAL) and entry.name not in taken
            )
            written = replace(own, entries=(*sealed, *internal)).pruned(self._clock())
            self._write(written, opened.keys, opened.key)
            return len(written.names)

    # --- parts ------------------------------------------------------------------------------------

    def _put(self, opened: Opened, name: str, value: bytes, kept: list[Entry], number: int) -> int:
        own = opened.image
        sealed = cipher.seal_value(opened.keys, own.id, name, number, value)
        others = [entry for entry in own.entries if entry.name != name]
        entries = (*others, *kept, Entry(name, number, self._clock(), 0.0, sealed))
        written = replace(own, entries=entries)
        if len(written.names) > image.MAX_SECRETS:
            raise VaultError(f"the vault holds {image.MAX_SECRETS} secrets and no more; remove some (proxyd secret rm)")
        self._write(written, opened.keys, opened.key)
        return number

    @contextmanager
    def _writing(self, *, accept: bool = False) -> Iterator[Opened]:
        """Hold the lock and give the latest file, or a new one, without versions that are over."""
        with files.locked(self.folder):
            opened = self._read(accept=accept) or self._begin()
            self._settle(opened)
            yield replace(opened, image=opened.image.pruned(self._clock()))

    def _replaceable(self, replacing: bool) -> Opened:
        """Return the vault that a backup may take the place of; a new one where there is none or it is beyond use."""
        try:
            opened = self._read()
        except VaultError as error:
            if self.path.exists() and not replacing:
                raise VaultError(f"{error}. To put the backup in its place, add --replace") from None
            opened = None
        if opened is None:
            return self._begin()
        names = opened.image.names
        if names and not replacing:
            raise VaultError(
                f"the vault holds secrets ({len(names)}), which the backup would replace; add --replace to do so"
            )
        self._settle(opened)
        return opened

    def _settle(self, opened: Opened) -> None:
        """Finish what a killed writer began, so that no two unfinished writes follow each other."""
        if not opened.is_noted:
            self.anchor.write(opened.image, opened.keys, opened.tag)
        self.keyring.settle(opened.image.key, opened.image.id)

    def _begin(self) -> Opened:
        vault = os.urandom(cipher.ID_BYTES)
        key = self.keyring.begin()
        return Opened(Image(vault, 0, key.info(vault), b""), DataKeys.fresh(), key, b"")

    def _read(self, *, accept: bool = False) -> Opened | None:
        noted = self.anchor.read()
        data = files.read(self.path, image.MAX_FILE, private=False)  # sealed and authenticated, whoever may read it
        if data is None:
            if noted is not None and not accept:
                raise VaultError(
                    f"{self.path} is gone, though {self.anchor.path} shows that there was a vault; put the file back "
                    f"or restore a backup. To begin with an empty vault and a new local CA, remove {self.anchor.path}"
                )
            return None
        body, tag = image.split(data, str(self.path))
        found = image.decode(body, str(self.path))
        key = self.keyring.unlock(found.key, found.id)
        keys = self._unwrapped(found, key)
        if not image.same(tag, cipher.file_tag(keys, found.id, body)):
            raise image.damaged(str(self.path))
        is_noted = accept or self.anchor.check(found, keys, tag, noted)
        self.anchor.see(found)
        return Opened(found, keys, key, tag, is_noted)

    def _unwrapped(self, found: Image, key: Key) -> DataKeys:
        try:
            return cipher.unwrap(found.wrapped, key.material, found.id)
        except ValueError:
            raise image.damaged(str(self.path)) from None

    def _write(self, changed: Image, keys: DataKeys, key: Key) -> Image:
        """Write the next generation: it is on the disk, and its anchor too, when this returns."""
        changed = replace(
            changed,
            generation=changed.generation + 1,
            key=key.info(changed.id),
            wrapped=cipher.wrap(keys, key.material, changed.id),
        )
        body = image.encode(changed)
        if len(body) + cipher.TAG_BYTES > image.MAX_FILE:
            raise VaultError(f"the vault would be larger than {image.MAX_FILE} bytes; remove some secrets first")
        tag = cipher.file_tag(keys, changed.id, body)
        files.replace(self.path, body + tag)
        self.anchor.write(changed, keys, tag)
        self.anchor.see(changed)
        self._cached = None
        return changed

    def _value(self, opened: Opened, entry: Entry) -> bytes:
        try:
            return cipher.open_value(opened.keys, opened.image.id, entry.name, entry.version, entry.sealed)
        except ValueError:
            raise image.damaged(f"the secret {entry.name} in {self.path}") from None

    def _sealed_anew(self, opened: Opened, entry: Entry, keys: DataKeys, vault: bytes) -> Entry:
        value = self._value(opened, entry)
        return replace(entry, sealed=cipher.seal_value(keys, vault, entry.name, entry.version, value))


def peek(state_dir: Path) -> list[str] | None:
    """Return the names in a vault without its key, not authenticated; None: there is none. VaultError."""
    path = state_dir / FOLDER / STORE
    data = files.read(path, image.MAX_FILE, private=False)
    if data is None:
        return None
    body, _ = image.split(data, str(path))
    return image.decode(body, str(path)).names


def nearest(name: str, names: list[str]) -> str:
    """Return the name that was probably meant, or nothing."""
    import difflib  # only where a name is wrong

    return next(iter(difflib.get_close_matches(name, names, 1)), "")


def _check_value(name: str, value: bytes) -> None:
    """VaultError: a value that no scheme could send."""
    if not value:
        raise VaultError(f"the value for {name} is empty; give one on standard input")
    if len(value) > image.MAX_VALUE:
        raise VaultError(f"the value for {name} has more than {image.MAX_VALUE // KIB} KiB; give the value alone")
    if not is_document(value) and any(byte in value for byte in b"\r\n\0"):
        raise VaultError(
            f"the value for {name} holds a line break or a NUL byte; only one newline at the end is allowed"
        )
