"""The second place that knows how far the vault has come: what tells an older file from the latest.

The anchor is written after the file, and read before it, so that a file is behind its anchor only where somebody put
an older one back. A process that runs remembers besides how far the vault was when it looked last.
"""

from pathlib import Path
from typing import Final

from proxyd.core.units import KIB
from proxyd.vault import cipher, files, image
from proxyd.vault.cipher import DataKeys
from proxyd.vault.errors import VaultError
from proxyd.vault.image import Anchor, Image

_MAX_FILE: Final = KIB
_HOW: Final = "put the latest files back; if it is meant to be so: proxyd secret rekey --accept"


class AnchorFile:
    """The anchor at ``path`` of the vault's file ``store``."""

    def __init__(self, path: Path, store: Path) -> None:
        self.path = path
        self._store = store
        self._seen = (b"", 0)

    def read(self) -> bytes | None:
        """Return what ``check`` wants, None where there is no anchor. VaultError."""
        return files.read(self.path, _MAX_FILE, private=False)

    def check(self, found: Image, keys: DataKeys, tag: bytes, noted: bytes | None) -> bool:
        """Return whether the anchor knows this file; False: its writer was killed in between. VaultError: older."""
        if self._seen[0] == found.id and found.generation < self._seen[1]:
            raise VaultError(
                f"{self._store} went back from generation {self._seen[1]} to {found.generation}: an older vault was "
                f"put in its place; {_HOW}"
            )
        if noted is None:
            if found.generation > 1:  # the first one is written before its anchor
                raise VaultError(f"{self.path} is missing, so an older vault would not be noticed; {_HOW}")
            return False
        anchor, body, seal = image.decode_anchor(noted, str(self.path))
        if anchor.id != found.id:
            raise VaultError(f"{self._store} is another vault than the one that was here before; {_HOW}")
        if not image.same(seal, cipher.anchor_tag(keys, found.id, body)):
            raise VaultError(f"{self.path} is damaged or was changed by something else; {_HOW}")
        if found.generation < anchor.generation:
            raise VaultError(
                f"{self._store} is of generation {found.generation}, the latest was {anchor.generation}: an older "
                f"vault was put in its place; {_HOW}"
            )
        if found.generation == anchor.generation and not image.same(tag, anchor.tag):
            raise VaultError(f"{self._store} is not the file that was written last; {_HOW}")
        return found.generation == anchor.generation

    def write(self, written: Image, keys: DataKeys, tag: bytes) -> None:
        """Note a file that is on the disk; this is, too, when it returns. OSError."""
        note = image.encode_anchor(Anchor(written.id, written.generation, tag))
        files.replace(self.path, note + cipher.anchor_tag(keys, written.id, note))

    def see(self, found: Image) -> None:
        """Remember how far the vault is; a thread that is behind another does not take that back."""
        if self._seen[0] != found.id or found.generation > self._seen[1]:
            self._seen = (found.id, found.generation)

    def furthest(self, found: Image) -> int:
        """Return how far a vault ever came, by the anchor and by what this process has seen, whatever is wrong."""
        latest = max(found.generation, self._seen[1] if self._seen[0] == found.id else 0)
        try:
            anchor = image.decode_anchor(self.read() or b"", str(self.path))[0]
        except VaultError:
            return latest
        return max(latest, anchor.generation) if anchor.id == found.id else latest
