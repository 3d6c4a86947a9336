"""Secrets in a folder of JSON files, such as one that a tool of your own unseals: an example of a vault.

``path`` names the file below the folder without ``.json``, ``field`` a key of its object. A field ``expires`` (Unix
seconds) says when the file's values end.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyd.sdk import Fetched, Reference, Vault, VaultPluginError

MAX_BYTES = 256 * 1024


@dataclass(frozen=True)
class Options:
    """What stands under ``options``."""

    folder: str
    """An absolute path."""

    def __post_init__(self) -> None:
        """Refuse a folder that depends on where the daemon runs."""
        if not Path(self.folder).is_absolute():
            raise ValueError("folder must be an absolute path")


class Folder(Vault):
    """A folder of JSON files."""

    api_version = 1
    options_type = Options

    async def fetch(self, reference: Reference) -> Fetched:
        """Return one key of one file; reading may block, for every call has a thread of its own."""
        return _read(self.options.folder, reference)


def _read(folder: str, reference: Reference) -> Fetched:
    root = Path(folder).resolve()
    path = (root / f"{reference.path}.json").resolve()
    if root not in path.parents:
        raise VaultPluginError(f"{reference.path} leads out of the folder")
    try:
        with path.open("rb") as file:
            data, changed = file.read(MAX_BYTES + 1), path.stat().st_mtime
    except FileNotFoundError:
        raise VaultPluginError(f"{path} is not there", is_gone=True) from None
    except OSError as error:
        raise VaultPluginError(f"{path} cannot be read: {error.strerror}") from None
    values = _object(path, data)
    value = values.get(reference.field)
    if not isinstance(value, str):
        raise VaultPluginError(f"{path} has no text under {reference.field or 'the empty name; give field'}")
    expires = values.get("expires", 0)
    return Fetched(value.encode(), created=changed, expires=expires if isinstance(expires, int | float) else 0)


def _object(path: Path, data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise VaultPluginError(f"{path} holds no JSON object of {MAX_BYTES // 1024} KiB at most")
    return values
