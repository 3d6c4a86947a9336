"""The endpoints of one run: processes that can be killed, and begun anew on the same address."""

import http.client
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ports import LOOPBACK, answers, free_ports
from bench.processes import Tree
from bench.tools import ROOT

PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Kind:
    """How one endpoint behaves."""

    options: tuple[str, ...] = ("--delay", "0.005")
    address: str = LOOPBACK
    port: int = 0
    """0: a free one."""
    inside: tuple[str, ...] = ()
    """The words before the command, where it runs in a network namespace."""


class Endpoint:
    """One endpoint; ``start`` it, ``kill`` it, ``start`` it again."""

    def __init__(self, name: str, kind: Kind, folder: Path) -> None:
        self.name = name
        self.kind = kind
        self.port = kind.port or free_ports(1)[0]
        self._folder = folder
        self._tree: Tree | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.kind.address, self.port

    @property
    def ledger(self) -> Path:
        """Where it writes the ids of POSTs, if it keeps a ledger."""
        return self._folder / f"{self.name}.ledger"

    def start(self) -> None:
        """Return once it accepts connections."""
        words = [*self.kind.inside, sys.executable, "-m", "bench.faults.origin", "--name", self.name]
        words += ["--address", self.kind.address, "--port", str(self.port)]
        words += [str(self.ledger) if word == "LEDGER" else word for word in self.kind.options]
        tree = Tree(words, self._folder / f"{self.name}.log", {"PYTHONPATH": str(ROOT)})
        self._tree = tree
        tree.wait_until(lambda: answers(self.port, self.kind.address), PATIENCE)

    def kill(self) -> None:
        """SIGKILL."""
        tree, self._tree = self._tree, None
        if tree:
            tree.kill()

    def counts(self) -> dict[str, Any]:
        """What it saw since it was started."""
        connection = http.client.HTTPConnection(self.kind.address, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/count")
            counts: dict[str, Any] = json.loads(connection.getresponse().read())
            return counts
        finally:
            connection.close()


def make(kinds: Sequence[Kind], folder: Path) -> list[Endpoint]:
    """Endpoints of these kinds, not started, called a, b, c."""
    return [Endpoint(chr(ord("a") + number), kind, folder) for number, kind in enumerate(kinds)]
