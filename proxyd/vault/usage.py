"""When each secret was used last: best effort, kept in memory and written to ``STATE/vault/last-use`` now and then.

What was noted since the last write is lost when the process is killed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from proxyd.core.units import MIB
from proxyd.vault import files
from proxyd.vault.errors import VaultError
from proxyd.vault.store import FOLDER

NAME: Final = "last-use"
SAVE_SECONDS: Final = 30.0
LOCK_SECONDS: Final = 0.5
MAX_NAMES: Final = 4096
_MAX_FILE: Final = MIB


class Usage:
    """Times of last use by the secret's name in the vault."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir.absolute() / FOLDER / NAME
        self._times: dict[str, float] = {}
        self._is_dirty = False

    def load(self) -> None:
        """Take over what was written last; a file that is damaged counts as none."""
        try:
            found = json.loads(files.read(self._path, _MAX_FILE) or b"{}")
        except (VaultError, ValueError):
            return
        if isinstance(found, dict):
            self._times = {
                str(name): float(time)
                for name, time in list(found.items())[:MAX_NAMES]
                if isinstance(time, int | float) and float(time) >= self._times.get(str(name), 0.0)
            } | {name: time for name, time in self._times.items() if name not in found}

    def note(self, names: Iterable[str], now: float) -> None:
        """Note that these were used at the Unix time ``now``."""
        for name in names:
            if name in self._times or len(self._times) < MAX_NAMES:
                self._times[name] = max(now, self._times.get(name, 0.0))
                self._is_dirty = True

    def last(self, name: str) -> float | None:
        """Return the Unix time of the last use that is known."""
        return self._times.get(name)

    def forget(self, name: str) -> None:
        """Drop what is known of a secret that was removed."""
        if self._times.pop(name, None) is not None:
            self._is_dirty = True

    def save(self) -> None:
        """Write the times, if they have changed and there is a vault. VaultError."""
        if not self._is_dirty or not self._path.parent.is_dir():
            return
        self._is_dirty = False
        with files.locked(self._path.parent, LOCK_SECONDS):
            files.replace(self._path, json.dumps(self._times).encode("utf-8"))
