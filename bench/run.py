"""One scenario's run: the origin, the peers that are there, and rounds in which each peer takes its turn."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load.report import LoadError
from bench.origin import Origin, Target
from bench.peers.base import Peer, UnsupportedError
from bench.peers.table import PEERS
from bench.processes import StartError
from bench.scenarios.base import Round, Scenario, ScenarioError
from bench.stats import Sample
from bench.tools import MissingToolError, Tools

Say = Callable[[str], None]
FAILURES = (
    StartError,
    ScenarioError,
    LoadError,
    MissingToolError,
    UnsupportedError,
    OSError,
    subprocess.SubprocessError,
)
"""What a peer may do wrong without costing the others their figures."""


@dataclass(slots=True)
class Outcome:
    """What one scenario yielded, by the peer's name."""

    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a peer has no figures, or not those of all rounds."""


def run_scenario(
    scenario: Scenario, peers: Sequence[str], tools: Tools, folder: Path, rounds: int, times: Round, say: Say
) -> Outcome:
    """Measure ``peers`` in ``rounds`` interleaved rounds; everything is written below ``folder`` and removed.

    MissingToolError where the origin or the load cannot be had; a missing peer is left out.
    """
    for name in scenario.needs:
        tools.find(name)
    folder.mkdir()
    with Origin(tools.find("nginx"), folder / "origin") as origin, ExitStack() as stack:
        measurement = _Measurement(scenario, origin.target, tools, folder, say)
        for name in peers:
            measurement.admit(name, stack)
        for turn in range(rounds):
            for name in rotated(measurement.present(peers), turn):
                say(f"{scenario.name}: round {turn + 1} of {rounds}: {name}")
                measurement.take(name, times)
    shutil.rmtree(folder)
    return measurement.outcome


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """``names`` begun at another one each turn, so that nobody always follows the same neighbour."""
    start = turn % len(names) if names else 0
    return [*names[start:], *names[:start]]


class _Measurement:
    """The peers of one scenario while it runs."""

    def __init__(self, scenario: Scenario, target: Target, tools: Tools, folder: Path, say: Say) -> None:
        self.outcome = Outcome(scenario)
        self._scenario = scenario
        self._target = target
        self._tools = tools
        self._folder = folder
        self._say = say
        self._running: dict[str, Peer] = {}
        self._made = 0

    def present(self, names: Sequence[str]) -> list[str]:
        """Those of ``names`` that have done nothing wrong so far."""
        return [name for name in names if name not in self.outcome.missing]

    def admit(self, name: str, stack: ExitStack) -> None:
        """See that a peer can be had, start it (``stack`` stops it) and check that it does what is measured."""
        with self._excluding(name):
            peer = self._make(name)
            if self._scenario.fresh and not peer.has_processes:
                raise UnsupportedError(f"{name} has no processes to start")
            self.outcome.versions[name] = peer.version()
            if not self._scenario.fresh:
                stack.callback(peer.stop)
                peer.start()
                self._scenario.check(peer, self._tools)
                self._running[name] = peer

    def take(self, name: str, times: Round) -> None:
        """One peer's turn."""
        with self._excluding(name), ExitStack() as stack:
            peer = self._running.get(name)
            if peer is None:
                peer = self._make(name)
                stack.callback(peer.stop)
            sample = self._scenario.measure(peer, self._tools, times)
            self.outcome.samples.setdefault(name, []).append(sample)

    def _make(self, name: str) -> Peer:
        self._made += 1
        peer = PEERS[name](self._folder / f"{name}-{self._made}", self._target, self._tools)
        peer.feature = self._scenario.feature
        return peer

    @contextmanager
    def _excluding(self, name: str) -> Iterator[None]:
        """Leave a peer that fails out of the rest of the scenario, and say why."""
        try:
            yield
        except FAILURES as error:
            self.outcome.missing[name] = str(error)
            self._say(f"{self._scenario.name}: {name} is left out: {error}")
