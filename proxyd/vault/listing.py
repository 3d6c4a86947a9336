"""A secret of the vault as it is told to people: everything but its value."""

import time
from collections.abc import Sequence
from typing import Any

from proxyd.vault.store import Version


def row(name: str, versions: Sequence[Version], last_used: float | None, now: float) -> dict[str, Any]:
    """Return plain values; ``versions`` newest first, times as Unix seconds in and as text out."""
    current = next((version for version in versions if not version.until), None)
    return {
        "name": name,
        "source": "vault",
        "version": current.number if current else None,
        "versions": [
            {
                "version": version.number,
                "state": "overlap" if version.until else "current",
                "created": when(version.created),
                "until": when(version.until) if version.until else None,
            }
            for version in versions
        ],
        "age_seconds": round(max(0.0, now - current.created), 3) if current else None,
        "last_used": when(last_used) if last_used else None,
    }


def when(seconds: float) -> str:
    """Return a Unix time as ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
