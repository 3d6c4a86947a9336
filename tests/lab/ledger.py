"""What an origin received, one JSON line each, in a file that the origin appends to and tests read."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One request head as it stood on the wire, and what its body came to."""

    door: str
    """``https`` or ``http``: the listening socket."""
    connection: int
    sequence: int
    """Position on its connection, from 0."""
    sni: str | None
    head: str
    """The raw head, bytes as latin-1."""
    authorised: bool
    body_bytes: int | None = None
    """None: the body's end was not seen."""
    body_sha256: str | None = None
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def method(self) -> str:
        return self.head.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.head.split(" ", 2)[1]

    @property
    def headers(self) -> list[tuple[str, str]]:
        """(name, value), names as they were spelled."""
        fields = []
        for line in self.head.split("\r\n")[1:]:
            name, colon, value = line.partition(":")
            if colon:
                fields.append((name, value.strip()))
        return fields

    def values(self, name: str) -> list[str]:
        """All values of the field ``name``, whatever its case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Ledger:
    """Reads the file of one origin; ``mark`` and ``since`` separate the tests that share it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> int:
        """Return a position: what is received from now on stands after it."""
        return len(self.entries())

    def since(self, mark: int) -> list[Received]:
        """Return what was received after ``mark``."""
        return self.entries()[mark:]

    def entries(self) -> list[Received]:
        """Return everything, in order of arrival of the heads."""
        heads: dict[tuple[int, int], dict[str, Any]] = {}
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            record = json.loads(line)
            key = (record["connection"], record["sequence"])
            heads.setdefault(key, {}).update(record)
        return [
            Received(**{**record, "trailers": [tuple(pair) for pair in record.get("trailers", [])]})
            for record in heads.values()
        ]

    def raw(self) -> str:
        """Return the file's text: what is not in here never arrived in a head or a trailer."""
        return self.path.read_text()
