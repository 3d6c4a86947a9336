"""The lists that were found last, on disk: a start while the resolver is down goes on with them.

One file in the state folder, replaced as a whole (proxyd.vault.files), so that a reader after a crash sees the former
lists or the new ones. It is judged when it is read, as anything from outside: what is wrong is left out and told.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from proxyd.control.discovery.watch import Watch
from proxyd.core.authority import normalise_host
from proxyd.core.discovery import MAX_ENDPOINTS, MAX_PRIORITY, MAX_WEIGHT, Discovery
from proxyd.core.service import Endpoint
from proxyd.core.units import MIB
from proxyd.vault import files
from proxyd.vault.errors import VaultError

FILE: Final = "discovery.json"
FORMAT: Final = 1
MAX_BYTES: Final = 4 * MIB
"""Of the file; lists beyond it are not kept."""
REFRESH_SECONDS: Final = 600.0
"""A list that was found again, unchanged, is noted on disk no later than this."""


class Kept(NamedTuple):
    """One list, and when it was found or confirmed last."""

    endpoints: tuple[Endpoint, ...]
    moment: float
    """Unix time."""


class Memory:
    """The file in ``folder``. Its methods block: they are for a thread, or for a start."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._kept: dict[tuple[str, str], Kept] | None = None
        self.problem = ""
        """Why the file could not be used; empty: it could, or there is none."""

    def __repr__(self) -> str:
        return f"<Memory {self._path}>"

    def recall(self, discovery: Discovery) -> Kept | None:
        """Return what was found last for a service by the same finder."""
        if self._kept is None:
            self._kept = self._read()
        return self._kept.get((discovery.service, str(discovery.finder)))

    def keep(self, watches: Iterable[Watch]) -> None:
        """Write down what these have found. OSError; the former file stays then."""
        lists = []
        size = 0
        for watch in watches:
            if watch.endpoints is None:
                continue
            rows = [[one.host, one.port, one.weight, one.priority] for one in watch.endpoints]
            entry = {
                "service": watch.discovery.service,
                "finder": str(watch.discovery.finder),
                "found": round(watch.found_at, 3),
                "endpoints": rows,
            }
            size += len(json.dumps(entry)) + 2
            if size > MAX_BYTES - 100:
                break
            lists.append(entry)
        files.replace(self._path, json.dumps({"format": FORMAT, "lists": lists}).encode("utf-8"))

    def _read(self) -> dict[tuple[str, str], Kept]:
        try:
            data = files.read(self._path, MAX_BYTES)
            return _lists(json.loads(data)) if data is not None else {}
        except VaultError as error:
            self.problem = str(error)
        except (ValueError, RecursionError) as error:
            self.problem = f"{self._path} is not what proxyd wrote: {error}"
        return {}


def _lists(document: Any) -> dict[tuple[str, str], Kept]:
    """Return what a document says. ValueError where it is none of ours."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("another format")
    lists = document.get("lists")
    if not isinstance(lists, list):
        raise ValueError("there are no lists")
    found = {}
    for entry in lists:
        match entry:
            case {
                "service": str(service),
                "finder": str(finder),
                "found": int() | float() as moment,
                "endpoints": rows,
            }:
                found[service, finder] = Kept(_endpoints(rows), float(moment))
            case _:
                raise ValueError("a list lacks a field")
    return found


def _endpoints(rows: Any) -> tuple[Endpoint, ...]:
    if not isinstance(rows, list) or len(rows) > MAX_ENDPOINTS:
        raise ValueError("no list of endpoints, or a longer one than there may be")
    return tuple(_endpoint(row) for row in rows)


def _endpoint(row: Any) -> Endpoint:
    match row:
        case [str(host), int(port), int(weight), int(priority)]:
            if 0 < port < 65536 and 0 < weight <= MAX_WEIGHT and 0 <= priority <= MAX_PRIORITY:
                return Endpoint(normalise_host(host)[0], port, weight, priority)
    raise ValueError("an endpoint is none")
